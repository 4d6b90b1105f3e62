//! A progress bar on stderr, when that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that goes away when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar over so many units (`None`: nobody knows how many), of which a template tells.
    fn new(len: Option<u64>, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress(bar)
    }

    /// A bar over the bytes of a file.
    pub(crate) fn bytes(what: &'static str, len: Option<u64>) -> Self {
        let known = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}";
        let open = "{msg} {spinner} {binary_bytes}";
        let bar = Self::new(len, if len.is_some() { known } else { open });
        bar.0.set_message(what);
        bar
    }

    /// A bar over events.
    pub(crate) fn events(what: &'static str, len: u64) -> Self {
        let template = "{msg} {wide_bar} {human_pos}/{human_len} events, {eta} left";
        let bar = Self::new(Some(len), template);
        bar.0.set_message(what);
        bar
    }

    /// How far it is.
    pub(crate) fn set(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
