//! Tells the data path what routes depend on beside the destination, so that it remembers no answer for packets that
//! another one is for.

use dmvpn_common::FastPath;
use tracing::{info, warn};

use super::{Agent, plan::Plan};
use crate::{
    datapath::RouteSelection,
    netlink::selectors::{self, Selectors},
};

/// What routes depend on, as far as known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Selection {
    /// By the policy rules.
    rules: Selectors,
    /// By routes. Grows only, until all of them are listed again: to forget it when the last such route goes would take
    /// a listing at every change, and what it costs is more slots of the route cache.
    routes: Selectors,
    /// The kernel cannot tell: nothing is remembered and nothing decided here.
    unknown: bool,
}

impl Selection {
    fn all(self) -> Selectors {
        self.rules | self.routes
    }

    /// What a cached route has to respect.
    fn of_routes(self, check_source: bool) -> RouteSelection {
        let Selectors { source, class, .. } = self.all();
        if class || self.unknown {
            RouteSelection::ByMore
        } else if source || check_source {
            RouteSelection::BySource
        } else {
            RouteSelection::ByDestination
        }
    }

    /// Whether only the kernel can route packets right.
    fn is_the_kernels(self) -> bool {
        self.all().unseen || self.unknown
    }

    /// What of a tunnel's packets bypasses the kernel's stack.
    pub(super) fn fast_path(self, plan: &Plan) -> FastPath {
        if self.is_the_kernels() { FastPath::Off } else { plan.fast_path() }
    }
}

impl Agent {
    /// Reads rules and routes: at start, and after changes were missed. The data path hears of them by
    /// [`apply_selection`](Self::apply_selection).
    pub(super) async fn find_selectors(&mut self) {
        match self.lookup.selectors_of_routes() {
            Ok(routes) => self.selection.routes = routes,
            Err(error) => {
                warn!("{error}: taken for routes that depend on the source");
                self.selection.routes.source = true;
            }
        }
        self.find_rules().await;
    }

    /// Reads the policy rules.
    pub(super) async fn find_rules(&mut self) {
        let before = self.selection.rules.unseen;
        let found = selectors::of_rules(&self.netlink).await;
        self.selection.unknown = found.is_err();
        match found {
            Ok(rules) => {
                self.selection.rules = rules;
                if rules.unseen && !before {
                    warn!(
                        "policy rules select by mark, port or flow label, so the kernel routes every packet: as with \
                         `fast-path: off`"
                    );
                }
            }
            Err(error) => warn!("{error}: the kernel routes every packet"),
        }
    }

    /// Takes in what routes depend on that are new.
    pub(super) fn note_routes(&mut self, by: Selectors) {
        let known = self.selection.routes;
        self.selection.routes = known | by;
    }

    /// Tells the data path what routes depend on, if that is news.
    pub(super) fn apply_selection(&mut self) {
        let check_source = self.tunnels.iter().any(|tunnel| tunnel.plan.config.check_source);
        let wanted = self.selection.of_routes(check_source);
        let applied = self.data_path.control.set_route_selection(wanted).map(|changed| {
            if changed {
                info!(selection = ?wanted, "what cached routes have to respect");
            }
        });
        if let Err(error) = applied {
            warn!("{error}");
        }
        let selection = self.selection;
        for tunnel in self.tunnels.iter_mut() {
            let wanted = selection.fast_path(&tunnel.plan);
            if tunnel.parameters.fast_path != wanted {
                info!(tunnel = tunnel.name(), fast_path = ?wanted, "because of what routes depend on");
                tunnel.parameters.fast_path = wanted;
                if let Err(error) = self.data_path.tunnels.set(&tunnel.parameters) {
                    warn!(tunnel = tunnel.name(), "{error}");
                }
            }
        }
    }
}
