use super::{DecodeError, Packet};
pub(super) fn packet(_bytes: &[u8]) -> Result<Packet, DecodeError> {
    todo!()
}
