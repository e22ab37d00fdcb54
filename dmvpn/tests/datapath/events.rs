//! What the programs tell the agent, read from the ring buffer they really write to.

use std::{
    net::{IpAddr, UdpSocket},
    sync::Mutex,
    time::Duration,
};

use dmvpn::{
    config::BpfLog,
    datapath::{DataPath, DataPathEvent, DataPathEvents, Options, TcMode},
};
use tokio::time::timeout;
use tracing_log::log::{self, LevelFilter, Log, Metadata, Record};

use crate::testbed::{Pins, in_namespace, ip};

/// A tunnel interface whose neighbours nobody knows.
fn add_tunnel() -> u32 {
    ip("link add tun type veth");
    ip("address add 10.0.0.1/24 dev tun");
    ip("link set tun up");
    ip("link set veth0 up");
    nix::net::if_::if_nametoindex("tun").unwrap()
}

/// Makes the kernel ask for a neighbour.
fn send_to(address: &str) {
    UdpSocket::bind("10.0.0.1:0").unwrap().send_to(b"?", (address, 9)).unwrap();
}

fn resolution(ifindex: u32, next_hop: &str) -> DataPathEvent {
    DataPathEvent::Resolve { ifindex, next_hop: next_hop.parse::<IpAddr>().unwrap() }
}

/// The next event that is not a repetition: the kernel asks more than once.
async fn next_but(events: &mut DataPathEvents, seen: &[DataPathEvent]) -> DataPathEvent {
    let next = async {
        loop {
            let event = events.next().await.unwrap();
            if !seen.contains(&event) {
                return event;
            }
        }
    };
    timeout(Duration::from_secs(10), next).await.expect("an event within 10 seconds")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_next_hop_the_kernel_asks_for_becomes_an_event() {
    in_namespace(|| {
        let pins = Pins::new("resolve");
        let mut data_path = pins.open();
        let ifindex = add_tunnel();
        data_path.attach_tc("tun", TcMode::Tcx).unwrap();
        runtime().block_on(async {
            let mut events = data_path.events().unwrap();
            send_to("10.0.0.9");
            let first = next_but(&mut events, &[]).await;
            assert_eq!(first, resolution(ifindex, "10.0.0.9"));
            // The reader waits now: the kernel has to wake it.
            let (second, ()) = tokio::join!(next_but(&mut events, std::slice::from_ref(&first)), async {
                tokio::task::yield_now().await;
                send_to("10.0.0.10");
            });
            assert_eq!(second, resolution(ifindex, "10.0.0.10"));
            assert_eq!(events.malformed(), 0);
        });
    });
}

#[test]
fn events_wait_for_the_next_agent() {
    in_namespace(|| {
        let pins = Pins::new("waiting");
        let mut data_path = pins.open();
        let ifindex = add_tunnel();
        data_path.attach_tc("tun", TcMode::Tcx).unwrap();
        let seen = runtime().block_on(async {
            let mut events = data_path.events().unwrap();
            send_to("10.0.0.9");
            next_but(&mut events, &[]).await
        });
        drop(data_path);
        send_to("10.0.0.10");

        let mut data_path = pins.open();
        let waiting = runtime().block_on(async {
            let mut events = data_path.events().unwrap();
            next_but(&mut events, &[seen]).await
        });
        assert_eq!(waiting, resolution(ifindex, "10.0.0.10"));
    });
}

/// What was logged by anybody.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collect;

impl Log for Collect {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LOGGED.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn the_programs_log_when_asked_to() {
    in_namespace(|| {
        log::set_logger(&Collect).unwrap();
        log::set_max_level(LevelFilter::Trace);
        let pins = Pins::new("log");
        let mut data_path = DataPath::open(&Options { log: BpfLog::Debug, ..pins.options() }).unwrap();
        let ifindex = add_tunnel();
        data_path.attach_tc("tun", TcMode::Tcx).unwrap();
        send_to("10.0.0.9");
        let dropped = format!("interface {ifindex}: dropped, reason 0");
        let logged = || LOGGED.lock().unwrap().iter().any(|line| line.contains(&dropped));
        runtime().block_on(async {
            let mut log = data_path.log().unwrap();
            let wait = async {
                while !logged() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                error = log.pass_on() => panic!("the log ended: {error}"),
                waited = timeout(Duration::from_secs(10), wait) => waited.expect("a record within 10 seconds"),
            }
        });
    });
}
