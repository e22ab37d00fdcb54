//! Spreading one peer's packets over CPUs: which packet goes where, and what becomes of it there.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use dmvpn_common::{DropReason, IPPROTO_GRE, SpreadCounter};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{setsockopt, sockopt::RcvBufForce},
    unistd::Pid,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    frames::{ETHERTYPE_IPV6, Gre, Ip, Ip6, LOCAL, SPOKE_1, STRANGER, gre6, tagged},
    live::{PATIENCE, PLAN, Pair, Plan},
    namespace::ip,
    programs::{Programs, Settings, tunnel, xdp},
};

/// Where tests receive, and the other CPU.
const HERE: u32 = 0;
const THERE: u32 = 1;

/// Keeps the calling thread on one CPU.
fn stay_on(cpu: u32) {
    let mut set = CpuSet::new();
    set.set(usize::try_from(cpu).unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).expect("these tests need two CPUs");
}

/// A box that receives on `HERE` and spreads.
fn spreading(cpus: &'static [u32]) -> Programs {
    stay_on(HERE);
    let mut programs = Programs::load_with(Settings { spread: cpus, ..Settings::default() });
    programs.set_up_two_spokes(None, tunnel());
    programs
}

/// Whether a frame is handed over to `THERE`: then it is left as it is, and counted; else nothing is.
fn is_handed_over(programs: &Programs, frame: &[u8]) -> bool {
    let before = programs.spread(THERE);
    let outcome = programs.receive_and_spread(frame);
    let after = programs.spread(THERE);
    if after == before {
        return false;
    }
    assert_eq!((outcome.action, outcome.frame.as_slice()), (xdp::REDIRECT, frame));
    assert_eq!(after.handed_over.packets, before.handed_over.packets + 1);
    assert_eq!(after.handed_over.bytes, before.handed_over.bytes + frame.len() as u64);
    assert_eq!(programs.spread(HERE), SpreadCounter::default());
    true
}

/// UDP between two hosts, with these ports.
fn udp(source: u16, destination: u16) -> Ip {
    let mut packet = Ip::between([192, 168, 1, 5], [192, 168, 2, 5], 60);
    packet.payload[..2].copy_from_slice(&source.to_be_bytes());
    packet.payload[2..4].copy_from_slice(&destination.to_be_bytes());
    packet
}

fn from_spoke(inner: &Ip) -> Vec<u8> {
    Gre::from(SPOKE_1, inner.bytes()).frame()
}

#[test]
fn a_flow_has_one_cpu_and_flows_have_all() {
    let programs = spreading(&[HERE, THERE]);
    let mut there = 0;
    for port in 0..1000 {
        let first = is_handed_over(&programs, &from_spoke(&udp(port, 53)));
        there += u32::from(first);
        // Neither TOS, TTL, length nor content make another flow of it, nor the way it comes.
        let mut other = udp(port, 53);
        (other.tos, other.ttl, other.identification, other.fragment) = (0xb8, 3, port, 0x4000);
        other.payload.extend(port.to_be_bytes().repeat(100));
        assert_eq!(is_handed_over(&programs, &from_spoke(&other)), first, "port {port}");
        let keyed = Gre { key: Some(42), ..Gre::from(SPOKE_1, udp(port, 53).bytes()) };
        assert_eq!(is_handed_over(&programs, &keyed.frame()), first, "port {port} with a key");
        assert_eq!(is_handed_over(&programs, &tagged(7, &keyed.frame())), first, "port {port} with a tag");
        let options = Ip { options: vec![1, 1, 1, 0], ..udp(port, 53) };
        assert_eq!(is_handed_over(&programs, &from_spoke(&options)), first, "port {port} with options");
    }
    assert!((400..600).contains(&there), "{there} of 1000 flows went to the other CPU");
}

#[test]
fn addresses_ports_and_protocol_make_a_flow() {
    let programs = spreading(&[HERE, THERE]);
    let differs = |change: &dyn Fn(&mut Ip, u8)| {
        let went = |byte| {
            let mut packet = udp(1000, 53);
            change(&mut packet, byte);
            is_handed_over(&programs, &from_spoke(&packet))
        };
        let there = (0..64).filter(|&byte| went(byte)).count();
        (8..56).contains(&there)
    };
    assert!(differs(&|packet, byte| packet.source = Ipv4Addr::new(192, 168, 1, byte)));
    assert!(differs(&|packet, byte| packet.destination = Ipv4Addr::new(192, 168, 2, byte)));
    assert!(differs(&|packet, byte| packet.protocol = 64 + byte));
    for protocol in [6, 17, 33, 132, 136] {
        assert!(differs(&|packet, byte| (packet.protocol, packet.payload[1]) = (protocol, byte)));
        assert!(differs(&|packet, byte| (packet.protocol, packet.payload[3]) = (protocol, byte)));
    }
    // What is behind the ports, and what only looks like ports.
    assert!(!differs(&|packet, byte| packet.payload[4] = byte));
    assert!(!differs(&|packet, byte| (packet.protocol, packet.payload[3]) = (1, byte)));
}

#[test]
fn fragments_of_a_packet_stay_together() {
    let programs = spreading(&[HERE, THERE]);
    for host in 0..32 {
        let fragment = |port: u16, fragment: u16| {
            let packet = Ip { fragment, destination: Ipv4Addr::new(192, 168, 2, host), ..udp(port, port) };
            is_handed_over(&programs, &from_spoke(&packet))
        };
        // The first has the ports, the others have anything in their place.
        let first = fragment(1000, 0x2000);
        for (content, place) in [(0x1234, 0x2005), (0xfedc, 0x000a), (1, 0x200a), (77, 0x1fff)] {
            assert_eq!(fragment(content, place), first, "{place:04x}");
        }
    }
}

#[test]
fn ipv6_is_spread_inside_and_outside() {
    let mut programs = spreading(&[HERE, THERE]);
    let (local, remote) = ("2001:db8::1", "2001:db8::2");
    programs.add_tunnel(local.parse::<std::net::Ipv6Addr>().unwrap(), None, tunnel());
    let outer = Ip6::between(remote, local, 40);
    let macs = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
    let mut there = [0; 3];
    for port in 0..200_u16 {
        let mut inner = Ip6::between("2001:db8:1::5", "2001:db8:2::5", 80);
        inner.payload[..2].copy_from_slice(&port.to_be_bytes());
        let six_in_four = Gre { protocol: ETHERTYPE_IPV6, ..Gre::from(SPOKE_1, inner.bytes()) }.frame();
        let six_in_six = gre6(macs, &outer, None, ETHERTYPE_IPV6, &inner.bytes());
        let went = is_handed_over(&programs, &six_in_four);
        assert_eq!(is_handed_over(&programs, &six_in_six), went, "port {port}");
        there[0] += u32::from(went);
        // A fragment header in front of the ports.
        let fragment = Ip6 { next_header: 44, ..inner.clone() };
        let fragment = gre6(macs, &outer, Some(7), ETHERTYPE_IPV6, &fragment.bytes());
        there[1] += u32::from(is_handed_over(&programs, &fragment));
        inner.destination = format!("2001:db8:2::{port:x}").parse().unwrap();
        inner.payload[..4].fill(0);
        let four = gre6(macs, &outer, None, ETHERTYPE_IPV6, &inner.bytes());
        there[2] += u32::from(is_handed_over(&programs, &four));
    }
    assert!((60..140).contains(&there[0]), "by ports: {there:?}");
    assert!([0, 200].contains(&there[1]), "fragments: {there:?}");
    assert!((60..140).contains(&there[2]), "by addresses: {there:?}");
}

/// These are dealt with on the CPU where they come in, as if there were no spreading.
#[test]
fn what_is_no_flow_of_ours_stays() {
    let programs = spreading(&[THERE]);
    let ours = Gre::from(SPOKE_1, udp(1, 2).bytes());
    assert!(is_handed_over(&programs, &ours.frame()), "everything else goes there");

    let mut others = ours.clone();
    others.ip.destination = STRANGER;
    let mut outer_fragment = ours.clone();
    outer_fragment.ip.fragment = 0x2000;
    let mut outer_options = ours.clone();
    outer_options.ip.options = vec![1, 1, 1, 0];
    let nhrp = Gre { protocol: 0x2001, payload: vec![0; 28], ..ours.clone() };
    let checksum = Gre { flags: 0x8000, ..ours.clone() };
    let not_gre = Ip { protocol: 17, ..Ip::between(SPOKE_1.octets(), LOCAL.octets(), 60) };
    for (what, frame) in [
        ("another host's", others.frame()),
        ("fragment", outer_fragment.frame()),
        ("options", outer_options.frame()),
        ("NHRP", nhrp.frame()),
        ("GRE checksum", checksum.frame()),
        ("not GRE", crate::frames::ethernet(ours.to, ours.from, 0x0800, &not_gre.bytes())),
    ] {
        assert!(!is_handed_over(&programs, &frame), "{what}");
        let outcome = programs.receive_and_spread(&frame);
        assert_eq!((outcome.action, &outcome.frame), (xdp::PASS, &frame), "{what}");
    }
    let (outcome, drops) = programs.drops_by(|| {
        let malformed = Gre { payload: vec![0x60; 40], ..ours.clone() };
        programs.receive_and_spread(&malformed.frame())
    });
    assert_eq!((outcome.action, drops.len(), drops[0].0), (xdp::DROP, 1, DropReason::InnerMalformed));
    assert_eq!(programs.spread(THERE).handed_over.packets, 1);
}

/// The flows of the CPU where they come in are not queued.
#[test]
fn a_flow_of_this_cpu_is_forwarded_at_once() {
    let programs = spreading(&[HERE]);
    let frame = from_spoke(&udp(1, 2));
    let (outcome, expected) = (programs.receive_and_spread(&frame), programs.receive(&frame));
    assert_eq!(outcome, expected);
    assert_eq!(programs.spread(HERE), SpreadCounter::default());
}

/// What a flow's packets carry: which flow, and which of its packets.
#[derive(Clone, Copy)]
struct Numbered {
    flow: usize,
    number: u32,
}

impl Numbered {
    fn bytes(self) -> [u8; 8] {
        (u64::from(self.number) << 32 | self.flow as u64).to_be_bytes()
    }

    fn read(bytes: &[u8]) -> Self {
        let value = u64::from_be_bytes(bytes[..8].try_into().unwrap());
        Self { flow: (value & 0xffff_ffff) as usize, number: (value >> 32) as u32 }
    }
}

/// Sends numbered packets of `size` bytes of 16 flows from left to right, all of which have to arrive, in the order of
/// their flow. They come in on `HERE`.
fn exchange(pair: &Pair, size: usize) {
    const FLOWS: usize = 16;
    /// As much as the rings on the way hold at once: 16 flows, 8 packets of each.
    const BURST: u32 = 8;
    const BURSTS: u32 = 50;
    let receiver = pair.right.run(|| UdpSocket::bind("10.0.0.2:7").unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    setsockopt(&receiver, RcvBufForce, &(16 << 20)).unwrap();
    let sockets: Vec<_> = pair
        .left
        .run(|| (1000..).take(FLOWS).map(|port| UdpSocket::bind(("10.0.0.1", port)).unwrap()).collect());
    let mut next = [0; FLOWS];
    for burst in 0..BURSTS {
        let send = || {
            stay_on(HERE);
            for number in burst * BURST..(burst + 1) * BURST {
                for (flow, socket) in sockets.iter().enumerate() {
                    let mut content = vec![0; size];
                    content[..8].copy_from_slice(&Numbered { flow, number }.bytes());
                    socket.send_to(&content, "10.0.0.2:7").unwrap();
                }
            }
        };
        pair.left.run(send);
        for _ in 0..FLOWS * BURST as usize {
            let mut content = vec![0; size + 1];
            let outcome = loop {
                match receiver.recv(&mut content) {
                    // A machine that is stopped for a moment interrupts every wait that has an end.
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    outcome => break outcome,
                }
            };
            let length = outcome.unwrap_or_else(|error| {
                panic!("{error}: {:?}, {:?}", pair.programs[1].drops(), cpus_of(pair))
            });
            assert_eq!(length, size);
            let Numbered { flow, number } = Numbered::read(&content);
            assert_eq!(number, next[flow], "flow {flow}");
            next[flow] += 1;
        }
    }
}

fn cpus_of(pair: &Pair) -> [SpreadCounter; 2] {
    [HERE, THERE].map(|cpu| pair.programs[1].spread(cpu))
}

/// What the right box received from its peer on each of the two CPUs.
fn received(pair: &Pair) -> [u64; 2] {
    let all = pair.programs[1].counters(1).received_xdp.packets;
    let there = pair.programs[1].spread(THERE).taken.packets;
    [all - there, there]
}

#[test]
fn one_peer_keeps_two_cpus_busy_and_its_flows_in_order() {
    let pair = Pair::new(Plan { spread: &[HERE, THERE], ..PLAN });
    exchange(&pair, 100);
    let [here, there] = received(&pair);
    assert_eq!(here + there, 16 * 8 * 50);
    assert!(here > 1000 && there > 1000, "{here} here, {there} there");
    let [none, taken] = cpus_of(&pair);
    assert_eq!(none, SpreadCounter::default());
    assert_eq!(taken.handed_over, taken.taken, "the books balance");
    assert_eq!(pair.programs[1].drops(), []);
}

#[test]
fn all_of_it_can_be_given_away() {
    let pair = Pair::new(Plan { spread: &[THERE], ..PLAN });
    exchange(&pair, 100);
    assert_eq!(received(&pair), [0, 16 * 8 * 50]);
}

#[test]
fn nothing_is_spread_unless_it_is_wanted() {
    let pair = Pair::new(PLAN);
    exchange(&pair, 100);
    assert_eq!(received(&pair), [16 * 8 * 50, 0]);
    assert_eq!(cpus_of(&pair), [SpreadCounter::default(); 2]);
}

/// Frames of several buffers.
#[test]
fn large_frames_are_spread_too() {
    let pair = Pair::new(Plan { spread: &[THERE], ..PLAN });
    for side in [&pair.left, &pair.right] {
        side.run(|| {
            ip("link set wan0 mtu 9000");
            ip("link set dmvpn0-x mtu 8900");
            ip("link set dmvpn0 mtu 8900");
        });
    }
    let mut pair = pair;
    for programs in &mut pair.programs {
        programs.change_peer(1, |peer| peer.mtu = 8900);
    }
    exchange(&pair, 8000);
    assert_eq!(received(&pair), [0, 16 * 8 * 50]);
    let bytes = pair.programs[1].spread(THERE).taken.bytes;
    assert_eq!(bytes, 16 * 8 * 50 * (8000 + 8 + 20 + 24 + 14), "all buffers are counted");
}

#[test]
fn tcp_is_spread() {
    let pair = Pair::new(Plan { spread: &[HERE, THERE], ..PLAN });
    for _ in 0..4 {
        pair.transfer(1_000_000);
    }
    assert_eq!(pair.programs[1].drops(), []);
}

/// What goes back by the interface it came in by is turned round by the driver, and redirected by another CPU.
#[test]
fn transit_returns_by_the_same_interface() {
    let pair = Pair::new(Plan { spread: &[THERE], ..PLAN });
    pair.left.run(|| ip("route add 10.2.0.0/16 via 10.0.0.2"));
    pair.right.run(|| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        ip("route add 10.2.0.0/16 via 10.0.0.1");
    });
    pair.left.run(|| {
        stay_on(HERE);
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        for _ in 0..100 {
            socket.send_to(&[0; 100], "10.2.0.9:7").unwrap();
        }
    });
    let deadline = Instant::now() + PATIENCE;
    while pair.programs[0].counters(1).received_xdp.packets < 100 {
        let [left, right] = pair.programs.each_ref().map(|programs| programs.counters(1));
        assert!(Instant::now() < deadline, "{left:?} {right:?} {:?}", cpus_of(&pair));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(pair.programs[1].counters(1).transit_xdp.packets, 100);
    assert_eq!(pair.programs[1].spread(THERE).taken.packets, 100);
}

/// Keeps a CPU from everything else for as long as it lives, which must be short.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    #[expect(unsafe_code, reason = "the standard library sets no scheduling policy")]
    fn on(cpu: u32) -> Self {
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
        let (stopped, beginning) = (Arc::clone(&stop), Arc::clone(&begun));
        let work = move || {
            stay_on(cpu);
            let priority = libc::sched_param { sched_priority: 1 };
            // SAFETY: the parameters are read only.
            let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            beginning.wait();
            while !stopped.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        let thread = std::thread::spawn(work);
        begun.wait();
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[test]
fn what_a_full_queue_loses_is_counted() {
    const SENT: u64 = 1000;
    let mut pair = Pair::new(Plan { spread: &[THERE], ..PLAN });
    let worker = pair.programs[1].worker();
    pair.programs[1].set_queue(THERE, 16, &worker);
    let receiver = pair.right.run(|| UdpSocket::bind("10.0.0.2:7").unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = pair.left.run(|| UdpSocket::bind("10.0.0.1:0").unwrap());
    let burst = |packets, content| {
        stay_on(HERE);
        for _ in 0..packets {
            sender.send_to(&[content], "10.0.0.2:7").unwrap();
        }
    };
    let busy = Busy::on(THERE);
    pair.left.run(|| burst(SENT, 1));
    drop(busy);
    // Behind all the others in the queue, once there is room for it. Those that find none are lost as well.
    receiver.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (mut arrived, mut sent) = (0, SENT);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut content = [0];
        if receiver.recv(&mut content).is_ok() {
            arrived += 1;
        } else {
            assert!(Instant::now() < deadline, "{:?}", cpus_of(&pair));
            pair.left.run(|| burst(1, 2));
            sent += 1;
        }
        if content == [2] {
            break;
        }
    }
    let counter = pair.programs[1].spread(THERE);
    println!("{sent} sent, {arrived} arrived, {counter:?}");
    assert_eq!((counter.handed_over.packets, counter.taken.packets), (sent, arrived));
    assert!(arrived < SENT / 2, "nothing was lost");
    assert_eq!(counter.handed_over.bytes * arrived, counter.taken.bytes * sent);
}

/// What the program leaves to the kernel goes on there as it came, also from another CPU.
#[test]
fn what_is_left_to_the_kernel_arrives_by_its_interface() {
    let mut pair = Pair::new(Plan { spread: &[THERE], ..PLAN });
    // Programs that know of no tunnel leave everything to the kernel.
    let worker = Programs::load_with(Settings { spread: &[THERE], ..Settings::default() });
    pair.programs[1].set_queue(THERE, 64, &worker.worker());
    let mut receiver = pair.right.run(|| {
        let gre = Protocol::from(i32::from(IPPROTO_GRE));
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(gre)).unwrap();
        socket.bind_device(Some(b"wan0")).unwrap();
        socket
    });
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = pair.left.run(|| UdpSocket::bind("10.0.0.1:0").unwrap());
    pair.left.run(|| {
        stay_on(HERE);
        sender.send_to(b"to the kernel", "10.0.0.2:7").unwrap();
    });
    let mut packet = [0; 200];
    let length = receiver.read(&mut packet).unwrap();
    assert_eq!((length, &packet[length - 13..length]), (20 + 4 + 20 + 8 + 13, &b"to the kernel"[..]));
    assert_eq!(packet[12..20], [192, 0, 2, 1, 192, 0, 2, 2]);
    assert_eq!(worker.spread(THERE).taken.packets, 1);
}
