//! Debian's kernel as the emulator wants it: uncompressed, with a few of its modules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::packages;
use crate::command;

/// Modules the guest may need, without those they need themselves. The kernel loads them when they are asked for.
pub(super) const MODULES: &[&str] = &[
    // The machine itself: its console channel and the shared directories.
    "virtio_pci",
    "virtio_console",
    "virtio-rng",
    "9p",
    "9pnet_virtio",
    // Links.
    "veth",
    "tun",
    "dummy",
    "vrf",
    "bridge",
    "8021q",
    "virtio_net",
    "af_packet",
    // Tunnels and IPsec.
    "ip_gre",
    "ip6_gre",
    "esp4",
    "esp6",
    "ah4",
    "xfrm_user",
    "xfrm_interface",
    "authenc",
    "echainiv",
    "seqiv",
    "cbc",
    "gcm",
    "ctr",
    "hmac",
    "sha256_generic",
    "aes_generic",
    // Traffic control.
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
    "sch_netem",
    // Firewall: NAT, and the messages that nhrpd wants of packets that leave the way they came. The first is needed by
    // the second, which does not say so.
    "crc32c_generic",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
    "nft_nat",
    "nft_ct",
    "nft_log",
    "nft_limit",
    "nft_reject_inet",
    "nfnetlink_log",
    "nf_conntrack_netlink",
];

/// Where things are in a kernel image (Linux, "The Linux/x86 Boot Protocol").
mod boot_protocol {
    /// Number of sectors of the real-mode part, less the first one.
    pub(super) const SETUP_SECTORS: usize = 0x1f1;
    /// Magic number.
    pub(super) const MAGIC: usize = 0x202;
    /// Where the compressed kernel begins, from the start of the protected-mode part.
    pub(super) const PAYLOAD_OFFSET: usize = 0x248;
    /// Length of the compressed kernel.
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
}

/// Writes the kernel of unpacked packages to `path`, uncompressed: so the emulated processor need not unpack it, which
/// would take it longer than all the rest of the boot. `tools` has an `xz`.
pub(super) fn uncompress(root: &Path, release: &str, tools: &Path, path: &Path) -> Result<()> {
    let image = root.join("boot").join(format!("vmlinuz-{release}"));
    let bytes = fs::read(&image).with_context(|| format!("cannot read {}", image.display()))?;
    let payload = payload(&bytes).with_context(|| format!("{} is no kernel", image.display()))?;
    ensure!(payload.starts_with(b"\xfd7zXZ\0"), "{} is not compressed with xz", image.display());
    let output = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    // The size of the kernel follows the compressed stream.
    let mut xz = packages::program(tools, "usr/bin/xz", "xz");
    xz.args(["--decompress", "--stdout", "--single-stream"]).stdin(Stdio::piped()).stdout(output);
    let mut xz = xz.spawn().context("cannot start xz")?;
    let Some(mut input) = xz.stdin.take() else { bail!("xz has no input") };
    input.write_all(payload).context("writing to xz")?;
    drop(input);
    let status = xz.wait().context("waiting for xz")?;
    ensure!(status.success(), "xz: {status}");
    Ok(())
}

/// The compressed kernel inside a kernel image.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(boot_protocol::MAGIC..)?.get(..4)? != b"HdrS" {
        return None;
    }
    let sectors = usize::from(*image.get(boot_protocol::SETUP_SECTORS)?);
    let start = (sectors + 1) * 512 + number(boot_protocol::PAYLOAD_OFFSET)?;
    image.get(start..)?.get(..number(boot_protocol::PAYLOAD_LENGTH)?)
}

/// The release of the kernel in unpacked packages, as `uname -r` will print it.
pub(super) fn release(root: &Path) -> Result<String> {
    let modules = root.join("usr/lib/modules");
    let mut releases = fs::read_dir(&modules)
        .with_context(|| format!("cannot read {}", modules.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let release = releases.next().context("the packages hold no kernel")?;
    ensure!(releases.next().is_none(), "the packages hold two kernels");
    Ok(release)
}

/// Removes all modules but [`MODULES`] and what they need, and writes the files by which they are found.
pub(super) fn keep_few_modules(root: &Path, release: &str) -> Result<()> {
    let directory = root.join("usr/lib/modules").join(release);
    list_modules(root, release)?;
    let list = directory.join("modules.dep");
    let list = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let built_in = fs::read_to_string(directory.join("modules.builtin")).context("modules.builtin")?;
    let needed = needed(&list, &built_in, MODULES)?;
    let all = list.lines().filter_map(|line| Some(line.split_once(':')?.0));
    for unneeded in all.filter(|path| !needed.contains(Path::new(path))) {
        fs::remove_file(directory.join(unneeded)).with_context(|| format!("cannot remove {unneeded}"))?;
    }
    list_modules(root, release)
}

/// Runs `depmod` of the guest.
fn list_modules(root: &Path, release: &str) -> Result<()> {
    let mut depmod = packages::program(root, "usr/bin/kmod", "depmod");
    command::output(depmod.arg("--basedir").arg(root).arg(release)).map(drop)
}

/// Files of the modules with these names and of all they depend on. `list` is `modules.dep`: on each line a file, a
/// colon, and the files it depends on, directly or not.
fn needed<'a>(list: &'a str, built_in: &str, names: &[&str]) -> Result<BTreeSet<&'a Path>> {
    let by_name: BTreeMap<String, Vec<&Path>> = list
        .lines()
        .filter_map(|line| {
            let (file, needs) = line.split_once(':')?;
            let files = std::iter::once(file).chain(needs.split_whitespace()).map(Path::new).collect();
            Some((module_name(Path::new(file)), files))
        })
        .collect();
    let built_in: BTreeSet<String> = built_in.lines().map(|path| module_name(Path::new(path))).collect();
    let mut needed = BTreeSet::new();
    for name in names {
        let name = name.replace('-', "_");
        match by_name.get(&name) {
            Some(files) => needed.extend(files),
            None => ensure!(built_in.contains(&name), "the kernel has no module {name}"),
        }
    }
    Ok(needed)
}

/// A module's name: that of its file, with underscores.
fn module_name(file: &Path) -> String {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('.').next().unwrap_or_default().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_compressed_kernel() {
        let mut image = vec![0; 4 * 512];
        image[boot_protocol::SETUP_SECTORS] = 1;
        image[boot_protocol::MAGIC..][..4].copy_from_slice(b"HdrS");
        image[boot_protocol::PAYLOAD_OFFSET] = 16;
        image[boot_protocol::PAYLOAD_LENGTH] = 3;
        image[1040..1043].copy_from_slice(b"abc");
        assert_eq!(payload(&image), Some(&b"abc"[..]));
        image[boot_protocol::PAYLOAD_LENGTH + 2] = 1;
        assert_eq!(payload(&image), None, "longer than the image");
    }

    #[test]
    fn takes_what_modules_need_and_knows_what_is_built_in() {
        let list = "kernel/net/ip_gre.ko: kernel/net/gre.ko kernel/net/ip-tunnel.ko\nkernel/net/gre.ko:\n\
                    kernel/net/ip-tunnel.ko:\nkernel/net/can.ko:\n";
        let files = needed(list, "kernel/net/packet/af_packet.ko\n", &["ip_gre", "af-packet"]).unwrap();
        let expected = ["kernel/net/gre.ko", "kernel/net/ip-tunnel.ko", "kernel/net/ip_gre.ko"];
        assert_eq!(files, expected.map(Path::new).into());
        assert!(needed(list, "", &["nothing"]).is_err());
    }
}
