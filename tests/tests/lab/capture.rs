//! `dmvpn capture` beside a running agent, and `dmvpn decode` of what it wrote.

use std::process::Command;

use anyhow::Result;
use dmvpn_tests::{
    command,
    config::TUNNEL,
    lab::{Lab, Plan},
};

#[test]
fn records_what_a_tunnel_sends_and_receives() -> Result<()> {
    let lab = Lab::new(Plan { spokes: 1, registration_interval: 1, ..Plan::default() })?;
    let (hub, _spokes) = lab.start_all()?;
    let file = lab.hub.files.join("nhrp.pcap");
    lab.hub.namespace.run(|| {
        let mut capture = Command::new("timeout");
        capture
            .arg("30")
            .arg(hub.program())
            .args(["capture", "--tunnel", TUNNEL, "--count", "4", "--socket"]);
        command::output(capture.arg(&hub.config().control_socket).arg("--write").arg(&file))
    })?;

    let text = command::output(Command::new(hub.program()).args(["decode", "--verify"]).arg(&file))?;
    let (hub, spoke) = (lab.hub.nbma, lab.spokes[0].nbma);
    // XDP passes what is received, and the stack sends what is sent.
    for line in [
        format!(" {spoke} > {hub} GRE key 42: Registration Request, "),
        format!(" {hub} > {spoke} GRE key 42: Registration Reply, "),
        "    authentication: 6 bytes (hidden)\n".to_owned(),
        "    encoded again: the same bytes\n".to_owned(),
    ] {
        assert!(text.matches(&line).count() >= 2, "{line:?} is not there twice:\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
    Ok(())
}
