//! The `dmvpn` command.

fn main() {}
