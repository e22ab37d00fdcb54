use super::{EncodeError, Packet};
pub(super) fn packet(_packet: &Packet, _buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    todo!()
}
