//! The tunnel interface was down: with that the kernel forgot neighbours and routes.

use ipnet::IpNet;

use super::{
    Action,
    tunnel::{Context, Tunnel},
};

impl Tunnel {
    /// Has everything put into the kernel again. What is there already takes no harm.
    pub(super) fn reinstall(&self, cx: &mut Context<'_>) {
        let tunnel = self.config.id;
        for (&protocol, binding) in self.cache.iter() {
            cx.out.push(Action::SetNeighbour { tunnel, protocol, nbma: binding.offer.nbma });
            if binding.route {
                cx.out.push(Action::AddRoute { tunnel, prefix: IpNet::from(protocol), via: None });
            }
        }
        for (prefix, shortcut) in self.shortcuts.iter() {
            cx.out.push(Action::AddRoute { tunnel, prefix, via: Some(shortcut.via) });
        }
    }
}
