//! What the programs cost: instructions in the kernel, work of the verifier, stack. The bounds are there to notice.

use std::collections::BTreeSet;

use aya_obj::{Object, generated::bpf_insn};
use dmvpn_common::{map_names, program_names};

use crate::programs::{OBJECT, Programs, Settings};

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

const BOUNDS: [Bounds; 6] = [
    Bounds { program: program_names::TC_UNDERLAY, instructions: 11_200, verified: 60_000, stack: 480 },
    Bounds { program: program_names::XDP_LAN, instructions: 5000, verified: 30_000, stack: 416 },
    Bounds { program: program_names::XDP_UNDERLAY, instructions: 10_200, verified: 80_000, stack: 480 },
    Bounds { program: program_names::XDP_SPREAD, instructions: 10_500, verified: 80_000, stack: 480 },
    Bounds { program: program_names::XDP_SPREAD_CPU, instructions: 10_300, verified: 80_000, stack: 480 },
    Bounds { program: program_names::TC_TUNNEL, instructions: 2000, verified: 5000, stack: 320 },
];

#[test]
fn stays_within_bounds() {
    let programs = Programs::load_with(Settings { spread: &[0], ..Settings::default() });
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
    // Settings, the log and the programs' own memory are no business of the agent.
    names.retain(|name| name != ".rodata" && name != "AYA_LOGS" && name != "SCRATCH");
    names.sort_unstable();
    let mut expected = [&map_names::ALL[..], &map_names::UNPINNED].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

const FRAME_POINTER: u8 = 10;
const CALL_OF_FUNCTION: (u8, u8) = (0x85, 1);
/// The address of a function, for the kernel to call.
const ADDRESS_OF_FUNCTION: (u8, u8) = (0x18, 4);

/// The stack a program needs, as the kernel reckons: that of its functions, each rounded up to 32 bytes, along the
/// deepest chain of calls.
fn stack_depth(program: &str) -> i32 {
    let mut object = Object::parse(&OBJECT).unwrap();
    // Puts what a program calls behind it.
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections).unwrap();
    let key = object.programs[program].function_key();
    stack_from(&object.functions[&key].instructions, 0)
}

/// The stack of the function that begins at `start`, and of those it calls.
fn stack_from(instructions: &[bpf_insn], start: usize) -> i32 {
    const EXIT: u8 = 0x95;
    const MOVE: u8 = 0xbf;
    const ADD_CONSTANT: u8 = 0x07;
    // The lower three bits: load and store by register.
    let by_memory = |code: u8| matches!(code & 0x07, 0x01..=0x03);
    let called = |place: usize| {
        let call = &instructions[place];
        let distance = isize::try_from(call.imm).unwrap() + 1;
        [CALL_OF_FUNCTION, ADDRESS_OF_FUNCTION]
            .contains(&(call.code, call.src_reg()))
            .then(|| place.strict_add_signed(distance))
    };

    let starts: BTreeSet<_> = (0..instructions.len()).filter_map(called).collect();
    let end = starts.range(start + 1..).next().copied().unwrap_or(instructions.len());
    assert!(instructions[start..end].iter().any(|instruction| instruction.code == EXIT), "no function");
    let (mut lowest, mut deepest_call, mut pointer) = (0, 0, None);
    for place in start..end {
        let instruction = &instructions[place];
        let (code, from, to) = (instruction.code, instruction.src_reg(), instruction.dst_reg());
        if let Some(callee) = called(place) {
            deepest_call = deepest_call.max(stack_from(instructions, callee));
        }
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
    (31 - lowest) / 32 * 32 + deepest_call
}
