//! x
/// x
pub fn options(_data: &[u8]) {}
