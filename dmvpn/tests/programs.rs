//! The programs in the kernel.

use aya::{
    EbpfLoader,
    programs::{SchedClassifier, Xdp},
};
use dmvpn_common::{map_names, program_names};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dmvpn-kernel"));

#[test]
fn loads_with_every_map() {
    let mut ebpf = EbpfLoader::new().override_global("AYA_LOG_LEVEL", &0u8, true).load(OBJECT).unwrap();
    for name in map_names::ALL {
        assert!(ebpf.map(name).is_some(), "{name}");
    }
    let xdp: &mut Xdp = ebpf.program_mut(program_names::XDP_UNDERLAY).unwrap().try_into().unwrap();
    xdp.load().unwrap();
    let tc: &mut SchedClassifier = ebpf.program_mut(program_names::TC_TUNNEL).unwrap().try_into().unwrap();
    tc.load().unwrap();
}
