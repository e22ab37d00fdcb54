//! What the programs cost: instructions in the kernel, work of the verifier, stack. The bounds are there to notice.

use aya_obj::Object;
use dmvpn_common::{map_names, program_names};

use crate::programs::{OBJECT, Programs};

/// Upper bounds for one program, with logging off.
struct Bounds {
    program: &'static str,
    /// Instructions in the kernel, when dead code is gone.
    instructions: u32,
    /// Instructions the verifier looks at. The kernel's limit is a million.
    verified: u32,
    /// Bytes of stack, logging included. The kernel's limit is 512.
    stack: i32,
}

const BOUNDS: [Bounds; 2] = [
    Bounds { program: program_names::XDP_UNDERLAY, instructions: 1200, verified: 4000, stack: 320 },
    Bounds { program: program_names::TC_TUNNEL, instructions: 700, verified: 1500, stack: 320 },
];

#[test]
fn stays_within_bounds() {
    let programs = Programs::load();
    for Bounds { program, instructions, verified, stack } in BOUNDS {
        let info = programs.info(program);
        let in_kernel = info.size_translated().expect("a kernel that tells the size") / 8;
        let looked_at = info.verified_instruction_count().expect("a kernel that tells the verifier's work");
        let deepest = stack_depth(program);
        println!(
            "{program}: {in_kernel} instructions in {} bytes of machine code, {looked_at} verified, stack {deepest}",
            info.size_jitted()
        );
        assert!(in_kernel <= instructions, "{program}: {in_kernel} instructions");
        assert!(looked_at <= verified, "{program}: {looked_at} instructions verified");
        assert!(deepest <= stack, "{program}: {deepest} bytes of stack");
    }
}

#[test]
fn holds_the_maps_the_agent_knows() {
    let programs = Programs::load();
    let mut names = programs.map_names();
    // Settings and the log are no maps of ours.
    names.retain(|name| name != ".rodata" && name != "AYA_LOGS");
    names.sort_unstable();
    let mut expected = [&map_names::ALL[..], &map_names::CACHES].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

/// The deepest place below the frame pointer that a program reaches. All calls are inlined, so this is all of it.
fn stack_depth(program: &str) -> i32 {
    const FRAME_POINTER: u8 = 10;
    const CALL_OF_FUNCTION: (u8, u8) = (0x85, 1);
    const MOVE: u8 = 0xbf;
    const ADD_CONSTANT: u8 = 0x07;
    // The lower three bits: load and store by register.
    let by_memory = |code: u8| matches!(code & 0x07, 0x01..=0x03);

    let object = Object::parse(OBJECT).unwrap();
    let function = object.functions.values().find(|function| function.name == program).unwrap();
    let mut lowest = 0;
    let mut pointer = None;
    for instruction in &function.instructions {
        let (code, from, to) = (instruction.code, instruction.src_reg(), instruction.dst_reg());
        assert_ne!((code, from), CALL_OF_FUNCTION, "{program} calls a function, whose stack is not counted");
        let base = if code & 0x07 == 0x01 { from } else { to };
        if by_memory(code) && base == FRAME_POINTER {
            lowest = lowest.min(i32::from(instruction.off));
        }
        // The address of a variable is made by two instructions in a row.
        if code == ADD_CONSTANT && pointer == Some(to) {
            lowest = lowest.min(instruction.imm);
        }
        pointer = (code == MOVE && from == FRAME_POINTER).then_some(to);
    }
    -lowest
}
