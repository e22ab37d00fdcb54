//! Explicit congestion notification through a tunnel (RFC 6040).
//!
//! On the way in the whole TOS byte is copied outside ("normal mode"). On the way out the two fields are combined.

/// The ECN field of a TOS byte or traffic class.
pub const MASK: u8 = 0b11;
const NOT_CAPABLE: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CONGESTION: u8 = 0b11;

/// The inner TOS byte after decapsulation, or `None` when the packet has to be dropped (RFC 6040, figure 4).
#[inline(always)]
pub const fn decapsulate(inner: u8, outer: u8) -> Option<u8> {
    match (inner & MASK, outer & MASK) {
        (NOT_CAPABLE, CONGESTION) => None,
        (ECT_0 | ECT_1, CONGESTION) => Some(inner | CONGESTION),
        (ECT_0, ECT_1) => Some(inner & !MASK | ECT_1),
        _ => Some(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040, figure 4: outgoing ECN field, by inner (rows) and outer field.
    #[test]
    fn combines_the_fields_as_the_rfc_says() {
        let outer = [NOT_CAPABLE, ECT_0, ECT_1, CONGESTION];
        for (inner, expected) in [
            (NOT_CAPABLE, [Some(NOT_CAPABLE), Some(NOT_CAPABLE), Some(NOT_CAPABLE), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CONGESTION)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CONGESTION)]),
            (CONGESTION, [Some(CONGESTION); 4]),
        ] {
            for (outer, expected) in outer.into_iter().zip(expected) {
                // The rest of the byte is the inner packet's.
                let dscp = 0b1011_1000;
                assert_eq!(
                    decapsulate(dscp | inner, outer),
                    expected.map(|ecn| dscp | ecn),
                    "{inner} {outer}"
                );
            }
        }
    }
}
