//! A large buffer gets its outer header once, and is cut up behind the program: by the kernel, or by a device that knows
//! how. Who is to do it is decided by what the program tells about the header: not only that there is one, but which.
//!
//! ```text
//! left: dmvpn0 10.0.0.1 --- wan0, watched ===== wan0 --- dmvpn0 10.0.0.2 :right
//! ```

use std::net::UdpSocket;

use nix::sys::socket::{setsockopt, sockopt};

use crate::{
    frames::{DF, Gre, Ip, UDP},
    live::{PATIENCE, PLAN, Pair, Plan},
    wire::Wire,
};

const KEY: Option<u32> = Some(42);

/// A device that does nothing for the kernel.
const NO_HELP: &str = "tx off";
/// One that cuts up anything, tunnels of other kinds included, but for GRE.
const ALL_BUT_GRE: &str =
    "tx on tso on tx-udp-segmentation on tx-gre-segmentation off tx-gre-csum-segmentation off";
/// One that cuts up what is in GRE, and in no tunnel of another kind.
const GRE_ALONE: &str = "tx on tso on tx-udp-segmentation on tx-gre-segmentation on tx-ipxip4-segmentation off \
     tx-ipxip6-segmentation off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off";

/// Ethernet, IPv4, GRE with a key.
const OUTER: usize = 14 + 20 + 8;
/// Longest frame on the wire.
const FRAME: usize = 14 + 1500;

/// Datagrams that the sender hands to its kernel as one buffer, and the bytes in each.
const DATAGRAMS: usize = 12;
const SIZE: usize = 1000;

/// Two boxes, and what leaves the left one.
fn pair(offload: &'static str) -> (Pair, Wire) {
    let pair = Pair::new(Plan { key: KEY, mode: None, offload, ..PLAN });
    let wire = pair.left.run(|| Wire::open("wan0"));
    (pair, wire)
}

/// Sends a buffer of datagrams; each has to arrive as it is.
fn send_datagrams(pair: &Pair) {
    let receiver = pair.right.run(|| UdpSocket::bind("10.0.0.2:7").unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = pair.left.run(|| UdpSocket::bind("10.0.0.1:9").unwrap());
    setsockopt(&sender, sockopt::UdpGsoSegment, &i32::try_from(SIZE).unwrap()).unwrap();
    let buffer = content();
    assert_eq!(sender.send_to(&buffer, "10.0.0.2:7").unwrap(), buffer.len());
    for datagram in buffer.chunks(SIZE) {
        let mut bytes = [0; 2 * SIZE];
        let length = receiver.recv(&mut bytes).expect("all datagrams");
        assert!(bytes[..length] == *datagram, "{length} bytes instead of {SIZE}, or others");
    }
}

fn content() -> Vec<u8> {
    (0..=250).cycle().take(DATAGRAMS * SIZE).collect()
}

/// The frames by the wire with GRE from the left box.
fn sent(wire: &Wire) -> Vec<Vec<u8>> {
    let ours =
        |frame: &Vec<u8>| frame[12..14] == [8, 0] && frame[23] == 47 && frame[26..30] == [192, 0, 2, 1];
    wire.frames().into_iter().filter(ours).collect()
}

/// The `number`th datagram on the wire, if `first` is the first one. Its UDP checksum may be left to the device.
fn frame(number: usize, first: &[u8], checksum: &[u8]) -> Vec<u8> {
    let field = |offset: usize| u16::from_be_bytes([first[OUTER + offset], first[OUTER + offset + 1]]);
    // The kernel counts up in both headers.
    let count = u16::try_from(number).unwrap();
    let length = u16::try_from(8 + SIZE).unwrap().to_be_bytes();
    let header = [&[0, 9, 0, 7], &length[..], checksum].concat();
    let bytes = &content()[number * SIZE..][..SIZE];
    let inner = Ip {
        identification: field(4).wrapping_add(count),
        // Whether it may be cut is the sender's affair.
        fragment: field(6) & DF,
        protocol: UDP,
        payload: [&header, bytes].concat(),
        ..Ip::between([10, 0, 0, 1], [10, 0, 0, 2], 20)
    };
    let mut gre = Gre { key: KEY, ..Gre::to([192, 0, 2, 2].into(), inner.bytes()) };
    (gre.to, gre.from) = ([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
    gre.ip.source = [192, 0, 2, 1].into();
    gre.ip.identification = count;
    gre.frame()
}

#[test]
fn what_a_device_cannot_cut_up_is_cut_up_before() {
    for offload in [NO_HELP, ALL_BUT_GRE] {
        println!("{offload}");
        let (pair, wire) = pair(offload);
        send_datagrams(&pair);
        let frames = sent(&wire);
        assert_eq!(frames.len(), DATAGRAMS, "{offload}: frames for as many datagrams");
        for (number, sent) in frames.iter().enumerate() {
            let expected = frame(number, &frames[0], &sent[OUTER + 26..][..2]);
            assert_eq!(*sent, expected, "{offload}, frame {number}");
        }

        pair.transfer(1_000_000);
        let longest = sent(&wire).iter().map(Vec::len).max();
        assert_eq!(longest, Some(FRAME), "{offload}: TCP fills frames, and no frame is longer");
        for programs in &pair.programs {
            assert_eq!(programs.drops(), [], "{offload}");
        }
    }
}

/// It would be slow otherwise, though right.
#[test]
fn what_a_device_can_cut_up_is_left_to_it() {
    let (pair, wire) = pair(GRE_ALONE);
    send_datagrams(&pair);
    let lengths: Vec<_> = sent(&wire).iter().map(Vec::len).collect();
    assert_eq!(lengths, [OUTER + 20 + 8 + DATAGRAMS * SIZE], "one frame for all datagrams");
    pair.transfer(1_000_000);
    let longest = sent(&wire).iter().map(Vec::len).max();
    assert!(longest > Some(4 * FRAME), "{longest:?}");
}
