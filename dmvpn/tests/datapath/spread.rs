//! Spreading over CPUs: the programs of it take the place of the other, and give it back.

use aya::programs::loaded_programs;
use dmvpn::{
    config::{Spread, XdpMode},
    datapath::{DataPath, RunningMode},
};
use dmvpn_common::{Traffic, program_names};

use crate::testbed::{Pins, chain, in_namespace, ip, refusal};

fn open(pins: &Pins, spread: Spread) -> DataPath {
    let options = dmvpn::datapath::Options { spread, ..pins.options() };
    DataPath::open(&options).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Name of the XDP program of an interface, and whether it runs natively.
fn program_on(interface: &str) -> (String, bool) {
    let link = ip(&format!("-details link show dev {interface}"));
    let id = link.split_once("prog/xdp id ").unwrap_or_else(|| panic!("no program: {link}")).1;
    let id: u32 = id.split_whitespace().next().unwrap().parse().unwrap();
    let program = loaded_programs().flatten().find(|program| program.id() == id).unwrap();
    (program.name_as_str().unwrap().to_owned(), !link.contains("xdpgeneric"))
}

#[test]
fn a_restart_takes_spreading_up_and_gives_it_up() {
    in_namespace(|| {
        ip("link add under type veth");
        ip("link set under up");
        let pins = Pins::new("spread");
        for (spread, cpus, program, kept) in [
            (Spread::Off, &[][..], program_names::XDP_UNDERLAY, false),
            (Spread::Cpus(vec![0]), &[0], program_names::XDP_SPREAD, true),
            (Spread::Cpus(vec![1, 0]), &[1, 0], program_names::XDP_SPREAD, true),
            (Spread::Off, &[], program_names::XDP_UNDERLAY, true),
        ] {
            let mut data_path = open(&pins, spread);
            assert_eq!(data_path.spread.cpus(), cpus);
            let attachment = data_path.attach_xdp("under", XdpMode::Auto).unwrap();
            assert_eq!((attachment.mode, attachment.kept), (RunningMode::Native, kept), "{cpus:?}");
            // The kernel keeps 15 letters of a name.
            assert_eq!(program_on("under"), (program.chars().take(15).collect(), true));
            assert_eq!(data_path.spread.missing().unwrap(), Traffic::default());
            drop(data_path);
            assert_eq!(
                program_on("under").0,
                program.chars().take(15).collect::<String>(),
                "it outlives the agent"
            );
        }
        open(&pins, Spread::All).close().unwrap();
        assert!(!pins.path.exists());
    });
}

#[test]
fn a_cpu_that_does_not_run_is_refused() {
    let pins = Pins::new("spread-offline");
    let options = dmvpn::datapath::Options { spread: Spread::Cpus(vec![0, 8000]), ..pins.options() };
    let refusal = refusal(DataPath::open(&options));
    assert!(
        refusal.starts_with("spread: CPU 8000 is not online: the CPUs of this box that are, are 0"),
        "{refusal}"
    );
}
