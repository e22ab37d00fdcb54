//! What holds for every text.

use dmvpn::{
    config::Config,
    import::{Given, Import, Input, Vendor, import},
};
use proptest::{prelude::*, sample::select};

const VENDORS: [Vendor; 4] = [Vendor::Cisco, Vendor::Huawei, Vendor::Vyos, Vendor::Opennhrp];

/// Words that readers know, so that arbitrary texts get somewhere.
const WORDS: &[&str] = &[
    "interface",
    "Tunnel0",
    "Tunnel1",
    "tun0",
    "interfaces",
    "tunnel",
    "ip",
    "address",
    "10.0.0.1",
    "255.255.255.0",
    "10.0.0.1/24",
    "10.0.0.2",
    "192.0.2.1",
    "203.0.113.1",
    "nhrp",
    "nhs",
    "nbma",
    "map",
    "multicast",
    "dynamic",
    "authentication",
    "secret",
    "network-id",
    "1",
    "holdtime",
    "300",
    "99999999999",
    "source",
    "local-ip",
    "key",
    "mode",
    "gre",
    "multipoint",
    "crypto",
    "isakmp",
    "policy",
    "ipsec",
    "profile",
    "transform-set",
    "set",
    "esp-aes",
    "256",
    "esp-sha-hmac",
    "protection",
    "encr",
    "des",
    "group",
    "2",
    "pre-shared-key",
    "ike",
    "peer",
    "proposal",
    "esp",
    "router",
    "ospf",
    "network",
    "0.0.0.255",
    "area",
    "0",
    "no",
    "edit",
    "top",
    "protocols",
    "static",
    "route",
    "next-hop",
    "10.0.0.0/24",
    "vpn",
    "esp-group",
    "ike-group",
    "bind",
    "remote",
    "sainfo",
    "anonymous",
    "{",
    "}",
    ";",
    "lifetime",
    "time",
    "hour",
    "encryption_algorithm",
    "spdadd",
    "-P",
    "in",
    "entry",
    "register",
    "redirect",
    "shortcut",
    "undo",
    "!",
    "#",
    "'",
    "\"",
    "add",
    "dev",
    "local",
    "mtu",
    "1400",
    "DEVICE=gre1",
    "KEY=1",
    "TYPE=GRE",
    "#!/bin/sh",
    "exit",
    "cluster",
    "priority",
    "max-connections",
    "tunnel-protocol",
    "p2mp",
    "destination",
    "\u{1b}[2J",
    "\u{7f}",
    "ß",
];

fn structured() -> impl Strategy<Value = String> {
    let line = prop::collection::vec(select(WORDS), 0..7).prop_flat_map(|words| {
        select(&["", " ", "  "][..]).prop_map(move |indent| format!("{indent}{}", words.join(" ")))
    });
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n"))
}

/// A line for each line, in order; a configuration that is accepted, or a reason.
fn holds(vendor: Vendor, texts: &[String]) -> Import {
    let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input { name: "a", text }).collect();
    let given = Given { addresses: vec![(Some("tun0".into()), "10.9.0.1/24".into())], sources: Vec::new() };
    let imported = import(vendor, &inputs, &given);
    let expected: Vec<usize> = texts.iter().flat_map(|text| 1..=text.lines().count()).collect();
    let found: Vec<usize> = imported.lines.iter().map(|line| line.line).collect();
    assert_eq!(found, expected);
    assert!(imported.lines.iter().all(|line| !line.note.is_empty()));
    assert!(imported.lines.iter().all(|line| !line.text.chars().any(char::is_control)));
    match &imported.configuration {
        Ok(text) => assert!(Config::parse(text.as_bytes()).is_ok(), "{text}"),
        Err(why) => assert!(!why.is_empty()),
    }
    imported
}

proptest! {
    #[test]
    fn every_text_has_one_verdict_a_line(text in any::<String>(), more in any::<String>()) {
        for vendor in VENDORS {
            holds(vendor, &[text.clone(), more.clone()]);
        }
    }

    #[test]
    fn every_text_of_known_words_has_one_verdict_a_line(text in structured(), more in structured()) {
        for vendor in VENDORS {
            holds(vendor, &[text.clone(), more.clone()]);
        }
    }

    #[test]
    fn a_secret_is_never_in_the_report(secret in "[A-Z][a-z0-9!%&/()=?+*~-]{3,7}") {
        let texts = [
            (Vendor::Cisco, format!("interface Tunnel0\n ip nhrp authentication {secret}\n ip nhrp authentication x {secret}\n\
                crypto isakmp key {secret} address 0.0.0.0\ncrypto isakmp key 6 {secret} address 0.0.0.0\n\
                crypto isakmp key 0 {secret} address 192.0.2.1\ncrypto isakmp key {secret}\nusername a password {secret}\nR1(config)# crypto isakmp key {secret} address 0.0.0.0\n\
                R1(config)#crypto isakmp key {secret} address 0.0.0.0\n\
                crypto keyring a\n pre-shared-key address 0.0.0.0 key {secret}\nrouter bgp 1\n neighbor 10.0.0.1 password {secret}\n")),
            (Vendor::Huawei, format!("interface Tunnel0\n nhrp authentication plain {secret}\n nhrp authentication cipher {secret}\n \
                nhrp authentication hash {secret}\n nhrp authentication sha2-256 {secret}\n nhrp authentication {secret}\n \
                ospf authentication-mode md5 1 cipher {secret}\nike peer a\n pre-shared-key {secret}\n pre-shared-key cipher {secret}\n")),
            (Vendor::Vyos, format!("set protocols nhrp tunnel tun0 authentication '{secret}'\n\
                edit protocols nhrp tunnel tun0\nset cisco-authentication {secret}\ntop\n\
                edit protocols nhrp tunnel tun0 authentication\nset {secret}\ntop\n\
                set vpn ipsec profile a authentication pre-shared-secret '{secret}'\n\
                protocols {{\n nhrp {{\n tunnel tun1 {{\n authentication {secret}\n }}\n }}\n }}\n")),
            (Vendor::Opennhrp, format!("interface gre1\n cisco-authentication {secret}\npassword {secret}\nline vty\n* {secret}\n192.0.2.1 {secret}\n")),
        ];
        for (vendor, text) in texts {
            let imported = holds(vendor, &[text]);
            for line in imported.lines {
                prop_assert!(!line.text.contains(&secret) && !line.note.contains(&secret), "{vendor:?}: {line:?}");
            }
        }
    }
}
