//! End-to-end, differential, fault and conformance tests.
