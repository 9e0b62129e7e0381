//! Fingerprints of what an operation was asked (contract 2).
