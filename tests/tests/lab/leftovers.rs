//! What is left on a machine when all agents were stopped: nothing.

use std::fs;

use anyhow::Result;
use dmvpn_tests::{
    config::TUNNEL,
    lab::{Lab, Plan},
};

#[test]
fn stopping_leaves_the_system_as_it_was() -> Result<()> {
    let lab = Lab::new(Plan::default())?;
    let look = |what: &str| -> Result<Vec<String>> {
        lab.nodes().map(|node| node.namespace.command(what)).collect()
    };
    // Interfaces with their XDP programs, routes of all tables, fixed neighbours, qdiscs. Not the IPv6 routes: the
    // kernel makes link-local ones when it is ready; those of an interface that is gone are gone with it.
    let commands = [
        "ip -o -d link show",
        "ip -4 route show table all",
        "ip -6 route show proto 54",
        "ip neigh show nud permanent",
        "tc qdisc show",
    ];
    let before = commands.iter().map(|what| look(what)).collect::<Result<Vec<_>>>()?;

    let (hub, spokes) = lab.start_all()?;
    let stream = lab.stream(0, 1, 1000)?;
    spokes[0].wait_shortcut(lab.spoke_lan(1)?.prefix)?;
    stream.finish()?;
    assert!(lab.hub.has_interface(TUNNEL));
    assert_ne!(look(commands[0])?, before[0], "the agents change what is compared");

    let pins: Vec<_> = lab.nodes().map(|node| node.pins.clone()).collect();
    for agent in spokes.into_iter().chain([hub]) {
        assert!(agent.terminate()?.success());
    }
    for (what, before) in commands.iter().zip(before) {
        assert_eq!(look(what)?, before, "{what}");
    }
    for directory in pins {
        assert!(!directory.exists(), "{} is still there", directory.display());
    }
    for entry in fs::read_dir(&lab.hub.files)? {
        let name = entry?.file_name();
        assert!(!name.as_encoded_bytes().ends_with(b".sock"), "{} is still there", name.display());
    }
    Ok(())
}
