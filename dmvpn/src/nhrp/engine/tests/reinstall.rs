//! A tunnel interface that was down.

use super::{bench::*, clouds::*};
use crate::nhrp::engine::Input;

#[test]
fn what_the_kernel_forgot_is_put_there_again() {
    let mut bench = with_shortcut();
    for node in ["hub", "a", "b"] {
        let (neighbours, shortcuts) = {
            let kernel = bench.kernel(node);
            (kernel.neighbours.clone(), kernel.shortcuts.clone())
        };
        assert!(!neighbours.is_empty(), "{node}");
        assert_eq!(shortcuts.is_empty(), node != "a", "{node}");
        for forget in [false, true] {
            if forget {
                bench.kernel(node).neighbours.clear();
                bench.kernel(node).shortcuts.clear();
            }
            bench.input(node, Input::InterfaceUp { tunnel: TUNNEL });
            assert_eq!(bench.kernel(node).neighbours, neighbours, "{node}");
            assert_eq!(bench.kernel(node).shortcuts, shortcuts, "{node}");
        }
    }
    assert_eq!(bench.data("a", "192.168.1.5", "192.168.2.5").unwrap(), ["a", "b"]);
}
