//! From one shape to another.

use proptest::prelude::*;

use crate::btf::{Conversion, Member, Shape};

const fn number(size: usize) -> Shape {
    Shape::Integer { size }
}

fn array(element: Shape, count: usize) -> Shape {
    Shape::Array { element: Box::new(element), count }
}

fn states(values: &[(&str, u64)]) -> Shape {
    Shape::Enumeration {
        size: 4,
        values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
    }
}

/// Members one behind the other, without gaps.
fn structure(members: Vec<(&str, Shape)>) -> Shape {
    let mut size = 0;
    let members = members
        .into_iter()
        .map(|(name, shape)| {
            let member = Member { name: name.to_owned(), offset: size, shape };
            size += member.shape.size();
            member
        })
        .collect();
    Shape::Structure { size, members }
}

fn convert(from: &Shape, to: &Shape, value: &[u8]) -> Result<Vec<u8>, String> {
    let conversion = Conversion::new(from, to).map_err(|error| error.to_string())?;
    conversion.apply(value).map_err(|error| error.to_string())
}

#[test]
fn fields_find_their_new_places() {
    let old = structure(vec![("a", number(1)), ("gone", number(2)), ("b", number(4))]);
    let new = structure(vec![("b", number(4)), ("new", number(2)), ("a", number(1))]);
    assert_eq!(convert(&old, &new, &[1, 9, 9, 2, 3, 4, 5]), Ok(vec![2, 3, 4, 5, 0, 0, 1]));
}

#[test]
fn structures_in_structures_are_matched_too() {
    let inner = |x, y| structure(vec![(x, number(1)), (y, number(1))]);
    let old = structure(vec![("in", array(inner("x", "y"), 2)), ("z", number(1))]);
    let new = structure(vec![("z", number(1)), ("in", array(inner("y", "x"), 2))]);
    assert_eq!(convert(&old, &new, &[1, 2, 3, 4, 5]), Ok(vec![5, 2, 1, 4, 3]));
}

#[test]
fn numbers_change_their_width_if_they_fit() {
    let (narrow, wide) = (structure(vec![("a", number(2))]), structure(vec![("a", number(8))]));
    let bytes = 0xfffe_u16.to_ne_bytes();
    let widened = convert(&narrow, &wide, &bytes).unwrap();
    assert_eq!(widened, 0xfffe_u64.to_ne_bytes());
    assert_eq!(convert(&wide, &narrow, &widened), Ok(bytes.to_vec()));
    let refused = convert(&wide, &narrow, &0x1_0000_u64.to_ne_bytes());
    assert_eq!(refused, Err("field a: this version has no such value".to_owned()));
}

#[test]
fn arrays_grow_and_shrink_if_nothing_is_lost() {
    let (short, long) = (array(number(1), 2), array(number(1), 4));
    assert_eq!(convert(&short, &long, &[1, 2]), Ok(vec![1, 2, 0, 0]));
    assert_eq!(convert(&long, &short, &[1, 2, 0, 0]), Ok(vec![1, 2]));
    assert!(convert(&long, &short, &[1, 2, 0, 3]).is_err());
}

#[test]
fn values_go_by_their_names() {
    let old = states(&[("Free", 0), ("Up", 1), ("Down", 2)]);
    let new = states(&[("Free", 0), ("Down", 1), ("Rekeying", 2), ("Up", 3)]);
    let to = |from: &Shape, to: &Shape, value: u32| {
        convert(from, to, &value.to_ne_bytes()).map(|bytes| u32::from_ne_bytes(bytes.try_into().unwrap()))
    };
    assert_eq!([to(&old, &new, 0), to(&old, &new, 1), to(&old, &new, 2)], [Ok(0), Ok(3), Ok(1)]);
    assert!(to(&new, &old, 2).is_err(), "a value that is new");
    assert!(to(&old, &new, 7).is_err(), "a value without a name");
}

#[test]
fn different_things_of_one_name_are_refused() {
    let old = structure(vec![("x", structure(vec![("a", number(4))]))]);
    let new = structure(vec![("x", structure(vec![("a", array(number(4), 1))]))]);
    let refused = convert(&old, &new, &[0; 4]);
    assert_eq!(refused, Err("field x.a: the other version has something else there".to_owned()));
    assert!(Conversion::new(&states(&[]), &number(4)).is_err());
}

#[test]
fn a_value_that_is_too_short_does_not_fit() {
    let shape = structure(vec![("a", number(4))]);
    assert!(convert(&shape, &shape, &[1, 2, 3]).is_err());
}

/// Shapes with members of different names, that are worth converting.
fn shapes() -> impl Strategy<Value = Shape> {
    let size = prop::sample::select(vec![1_usize, 2, 4, 8]);
    let leaf = prop_oneof![
        size.prop_map(number),
        Just(states(&[("Free", 0), ("Up", 1), ("Down", 2)])),
        (1_usize..20).prop_map(|count| array(number(1), count)),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..6).prop_map(|shapes| {
                structure(["a", "b", "c", "d", "e", "f"].into_iter().zip(shapes).collect())
            }),
            (inner, 1_usize..4).prop_map(|(element, count)| array(element, count)),
        ]
    })
}

/// The same with members in reverse, and a new one in front of each.
fn shuffled(shape: &Shape) -> Shape {
    match shape {
        Shape::Structure { members, .. } => {
            let mut all = Vec::new();
            for member in members.iter().rev() {
                all.push(("new", number(2)));
                all.push((member.name.as_str(), shuffled(&member.shape)));
            }
            structure(all)
        }
        Shape::Array { element, count } => array(shuffled(element), *count),
        Shape::Enumeration { .. } => states(&[("Free", 0), ("Down", 7), ("Up", 9)]),
        Shape::Integer { size } => number(*size),
    }
}

/// Every enumeration with a value that has a name.
fn valid(shape: &Shape, value: &mut [u8]) {
    match shape {
        Shape::Enumeration { .. } => {
            let number = u32::from(value[0] % 3);
            value[..4].copy_from_slice(&number.to_ne_bytes());
        }
        Shape::Structure { members, .. } => {
            for member in members {
                valid(&member.shape, &mut value[member.offset..]);
            }
        }
        Shape::Array { element, count } => {
            for n in 0..*count {
                valid(element, &mut value[n * element.size()..]);
            }
        }
        Shape::Integer { .. } => {}
    }
}

proptest! {
    #[test]
    fn there_and_back_loses_nothing(shape in shapes(), seed in prop::collection::vec(any::<u8>(), 64)) {
        let mut value: Vec<u8> = seed.iter().copied().cycle().take(shape.size()).collect();
        valid(&shape, &mut value);
        let other = shuffled(&shape);
        let there = convert(&shape, &other, &value).unwrap();
        prop_assert_eq!(there.len(), other.size());
        prop_assert_eq!(convert(&other, &shape, &there).unwrap(), value);
    }

    #[test]
    fn no_pair_of_shapes_makes_it_panic(from in shapes(), to in shapes(), value: Vec<u8>) {
        let _ = convert(&from, &to, &value);
    }
}
