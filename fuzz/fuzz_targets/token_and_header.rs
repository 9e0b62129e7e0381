//! See `src/laws`: the law of this name.
#![no_main]
libfuzzer_sys::fuzz_target!(init: oncekey::laws::hush(), |data: &[u8]| oncekey::laws::hold(oncekey::laws::token_and_header, data));
