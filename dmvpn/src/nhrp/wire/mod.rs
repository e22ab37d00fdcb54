//! The packet format: bytes to typed packets and back.
