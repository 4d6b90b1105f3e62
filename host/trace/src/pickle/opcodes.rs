//! The opcodes of Python's pickletools and which of them are refused.

pub(crate) const MARK: u8 = b'(';
pub(crate) const STOP: u8 = b'.';
pub(crate) const POP: u8 = b'0';
pub(crate) const POP_MARK: u8 = b'1';
pub(crate) const DUP: u8 = b'2';
pub(crate) const BININT: u8 = b'J';
pub(crate) const BININT1: u8 = b'K';
pub(crate) const BININT2: u8 = b'M';
pub(crate) const NONE: u8 = b'N';
pub(crate) const BINSTRING: u8 = b'T';
pub(crate) const SHORT_BINSTRING: u8 = b'U';
pub(crate) const BINUNICODE: u8 = b'X';
pub(crate) const BINBYTES: u8 = b'B';
pub(crate) const SHORT_BINBYTES: u8 = b'C';
pub(crate) const BINFLOAT: u8 = b'G';
pub(crate) const APPEND: u8 = b'a';
pub(crate) const APPENDS: u8 = b'e';
pub(crate) const BINGET: u8 = b'h';
pub(crate) const LONG_BINGET: u8 = b'j';
pub(crate) const BINPUT: u8 = b'q';
pub(crate) const LONG_BINPUT: u8 = b'r';
pub(crate) const SETITEM: u8 = b's';
pub(crate) const SETITEMS: u8 = b'u';
pub(crate) const TUPLE: u8 = b't';
pub(crate) const EMPTY_TUPLE: u8 = b')';
pub(crate) const EMPTY_LIST: u8 = b']';
pub(crate) const EMPTY_DICT: u8 = b'}';
pub(crate) const PROTO: u8 = 0x80;
pub(crate) const TUPLE1: u8 = 0x85;
pub(crate) const TUPLE2: u8 = 0x86;
pub(crate) const TUPLE3: u8 = 0x87;
pub(crate) const NEWTRUE: u8 = 0x88;
pub(crate) const NEWFALSE: u8 = 0x89;
pub(crate) const LONG1: u8 = 0x8a;
pub(crate) const LONG4: u8 = 0x8b;
pub(crate) const SHORT_BINUNICODE: u8 = 0x8c;
pub(crate) const BINUNICODE8: u8 = 0x8d;
pub(crate) const MEMOIZE: u8 = 0x94;
pub(crate) const FRAME: u8 = 0x95;

const RUNS_CODE: &str = "it could run code, and a memory snapshot needs none";
const OUTSIDE: &str = "it refers to data outside the file";
const OLD: &str = "it belongs to protocols 0 and 1";
const UNUSED: &str = "no memory snapshot holds such a value";

/// Name and reason of an opcode that is refused.
pub(crate) fn refused(op: u8) -> Option<(&'static str, &'static str)> {
    Some(match op {
        b'c' => ("GLOBAL", RUNS_CODE),
        0x93 => ("STACK_GLOBAL", RUNS_CODE),
        b'R' => ("REDUCE", RUNS_CODE),
        b'b' => ("BUILD", RUNS_CODE),
        b'i' => ("INST", RUNS_CODE),
        b'o' => ("OBJ", RUNS_CODE),
        0x81 => ("NEWOBJ", RUNS_CODE),
        0x92 => ("NEWOBJ_EX", RUNS_CODE),
        0x82 => ("EXT1", RUNS_CODE),
        0x83 => ("EXT2", RUNS_CODE),
        0x84 => ("EXT4", RUNS_CODE),
        b'P' => ("PERSID", RUNS_CODE),
        b'Q' => ("BINPERSID", RUNS_CODE),
        0x97 => ("NEXT_BUFFER", OUTSIDE),
        0x98 => ("READONLY_BUFFER", OUTSIDE),
        b'F' => ("FLOAT", OLD),
        b'I' => ("INT", OLD),
        b'L' => ("LONG", OLD),
        b'S' => ("STRING", OLD),
        b'V' => ("UNICODE", OLD),
        b'd' => ("DICT", OLD),
        b'l' => ("LIST", OLD),
        b'g' => ("GET", OLD),
        b'p' => ("PUT", OLD),
        0x8e => ("BINBYTES8", UNUSED),
        0x8f => ("EMPTY_SET", UNUSED),
        0x90 => ("ADDITEMS", UNUSED),
        0x91 => ("FROZENSET", UNUSED),
        0x96 => ("BYTEARRAY8", UNUSED),
        _ => return None,
    })
}

/// The name of an opcode; `None` if there is no such opcode.
pub(crate) fn name(op: u8) -> Option<&'static str> {
    Some(match op {
        MARK => "MARK",
        STOP => "STOP",
        POP => "POP",
        POP_MARK => "POP_MARK",
        DUP => "DUP",
        BININT => "BININT",
        BININT1 => "BININT1",
        BININT2 => "BININT2",
        NONE => "NONE",
        BINSTRING => "BINSTRING",
        SHORT_BINSTRING => "SHORT_BINSTRING",
        BINUNICODE => "BINUNICODE",
        BINBYTES => "BINBYTES",
        SHORT_BINBYTES => "SHORT_BINBYTES",
        BINFLOAT => "BINFLOAT",
        APPEND => "APPEND",
        APPENDS => "APPENDS",
        BINGET => "BINGET",
        LONG_BINGET => "LONG_BINGET",
        BINPUT => "BINPUT",
        LONG_BINPUT => "LONG_BINPUT",
        SETITEM => "SETITEM",
        SETITEMS => "SETITEMS",
        TUPLE => "TUPLE",
        EMPTY_TUPLE => "EMPTY_TUPLE",
        EMPTY_LIST => "EMPTY_LIST",
        EMPTY_DICT => "EMPTY_DICT",
        PROTO => "PROTO",
        TUPLE1 => "TUPLE1",
        TUPLE2 => "TUPLE2",
        TUPLE3 => "TUPLE3",
        NEWTRUE => "NEWTRUE",
        NEWFALSE => "NEWFALSE",
        LONG1 => "LONG1",
        LONG4 => "LONG4",
        SHORT_BINUNICODE => "SHORT_BINUNICODE",
        BINUNICODE8 => "BINUNICODE8",
        MEMOIZE => "MEMOIZE",
        FRAME => "FRAME",
        _ => return refused(op).map(|(name, _)| name),
    })
}
