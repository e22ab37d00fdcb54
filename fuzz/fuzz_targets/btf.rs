#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dmvpn_fuzz::btf(bytes));
