//! x
/// x
pub fn clock(_data: &[u8]) {}
