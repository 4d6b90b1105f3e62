//! Residency: who lives where, who is evicted, in which order things happen.
