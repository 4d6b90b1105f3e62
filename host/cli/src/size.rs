//! Sizes as people write them: `512MiB`, `1.5x`, `60%`, plain bytes.

use bytesize::ByteSize;
use std::fmt;
use std::str::FromStr;

/// The largest memory that is believed, in bytes.
pub const LARGEST: u64 = 32 << 40;

/// Sizes of memories are rounded up to this, in bytes.
pub const GRANULE: u64 = 4096;

/// A number of bytes, as in `512MiB`; more than 0 and at most [`LARGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// The size of device memory: bytes, or a part of what the trace needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// Bytes.
    Bytes(Bytes),
    /// A multiple of the live peak, written `1.5x` or `150%`.
    Times(f64),
}

/// A part of a whole, as in `50%`; 0% to 100%.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_suffix('%');
        let number = number.filter(|n| n.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        match number.and_then(|n| n.parse::<f64>().ok()) {
            Some(percent) if percent <= 100.0 => Ok(Percent(percent)),
            Some(_) => Err("more than all; 0% to 100%".into()),
            None => Err("expected a part such as 50%".into()),
        }
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('-') {
            return Err("a size must be more than 0".into());
        }
        if !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Err("expected a size, such as 512MiB, 2GiB or a number of bytes".into());
        }
        // More digits than 64 bits hold are a size all the same: one that is too large.
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let size = match text.parse::<ByteSize>() {
            Ok(size) => size.as_u64(),
            Err(_) if digits => u64::MAX,
            Err(_) => {
                return Err("expected a size, such as 512MiB, 2GiB or a number of bytes".into());
            }
        };
        match size {
            0 => Err("a size must be more than 0".into()),
            size if size > LARGEST => Err(format!("more than {}", human(LARGEST))),
            size => Ok(Bytes(size)),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = match (text.strip_suffix(['x', 'X']), text.strip_suffix('%')) {
            (Some(number), _) => (number, 1.0),
            (_, Some(number)) => (number, 100.0),
            _ => {
                let bytes = text.parse().map(Size::Bytes);
                return bytes.map_err(|e: String| e.replace("2GiB", "1.5x, 60%"));
            }
        };
        let number = number.trim();
        let wrong = || format!("'{number}' is not a number of times the live peak");
        if number.starts_with('-') {
            return Err("a size must be more than 0".into());
        }
        // `f64` would also take inf, nan and 1e300.
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(wrong());
        }
        let times = number.parse::<f64>().map_err(|_| wrong())? / unit;
        match times {
            t if t <= 0.0 => Err("a size must be more than 0".into()),
            t if t > 1e6 => Err("more than 1000000 times the live peak".into()),
            t => Ok(Size::Times(t)),
        }
    }
}

impl Size {
    /// Whether it depends on the trace.
    pub fn is_relative(self) -> bool {
        matches!(self, Size::Times(_))
    }

    /// The size in bytes for a trace with this live peak, rounded up to [`GRANULE`].
    ///
    /// # Errors
    /// It is more than [`LARGEST`].
    pub fn bytes(self, live_peak: u64) -> Result<u64, String> {
        let bytes = match self {
            Size::Bytes(bytes) => bytes.0,
            // A float cast saturates, and what it saturates to is refused below.
            Size::Times(times) => (live_peak as f64 * times).ceil() as u64,
        };
        let bytes = bytes.max(1).checked_next_multiple_of(GRANULE);
        let fits = bytes.filter(|&b| b <= LARGEST);
        fits.ok_or_else(|| {
            let (peak, largest) = (human(live_peak), human(LARGEST));
            format!("{self} of a live peak of {peak} is more than {largest}")
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Size::Bytes(bytes) => write!(f, "{}", human(bytes.0)),
            Size::Times(times) => write!(f, "{times}x"),
        }
    }
}

/// System memory that is enough for any device memory: every buffer may be out while another
/// copy of it is on its way.
///
/// # Errors
/// It is more than [`LARGEST`].
pub fn system_default(live_peak: u64) -> Result<u64, String> {
    const MIB: u64 = 1 << 20;
    let bytes = live_peak
        .checked_mul(2)
        .and_then(|b| b.checked_add(64 * MIB));
    let bytes = bytes.and_then(|b| b.checked_next_multiple_of(MIB));
    bytes.filter(|&b| b <= LARGEST).ok_or_else(|| {
        let (peak, largest) = (human(live_peak), human(LARGEST));
        format!("a live peak of {peak} needs more system memory than {largest}")
    })
}

/// Bytes for people, in binary units.
pub fn human(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Option<u64> {
        text.parse::<Size>().ok()?.bytes(1000 << 10).ok()
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("4096"), Some(4096));
        assert_eq!(bytes("1"), Some(4096));
        assert_eq!(bytes("512MiB"), Some(512 << 20));
        assert_eq!(bytes("1.5 GiB"), Some(3 << 29));
        assert_eq!(bytes("4kb"), Some(4096));
        assert_eq!(bytes("1x"), Some(1000 << 10));
        assert_eq!(bytes("1.5x"), Some(1500 << 10));
        assert_eq!(bytes("60%"), Some(600 << 10));
        assert_eq!(bytes("32TiB"), Some(LARGEST));
        assert_eq!(Size::Times(0.5).bytes(0), Ok(GRANULE));
    }

    #[test]
    fn other_sizes_are_refused() {
        let wrong = [
            "",
            " ",
            "0",
            "0x",
            "0%",
            "-1",
            "-1x",
            "-5GiB",
            "0x10",
            "x",
            "%",
            "infx",
            "nanx",
            "1e9x",
            "1..5x",
            "1.5.2GiB",
            "12 parsecs",
            "33TiB",
            "16EiB",
            "99999999999999999999",
            "18446744073709551616GiB",
            "10000000x",
            "0GiB",
            "GiB",
            "0.0000001KiB",
            "1,5GiB",
            "+5",
            "1000000x1",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Size>().ok(), None, "{text:?}");
        }
        assert!(Size::Times(1e6).bytes(1 << 50).is_err());
        assert!(system_default(u64::MAX / 2).is_err());
        assert_eq!(system_default(1), Ok(65 << 20));
    }
}
