//! The CPUs of this box, as the kernel lists them.

use std::{fs, io, ops::RangeInclusive};

use super::DataPathError;
use crate::config::Spread;

/// Where the kernel says which CPUs run.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// Which CPUs there are.
#[derive(Clone, Debug)]
pub(super) struct Cpus {
    possible: u32,
    /// The list as the kernel writes it.
    online: String,
}

impl Cpus {
    /// Asks the kernel.
    pub(super) fn read() -> Result<Self, DataPathError> {
        let possible = aya::util::nr_cpus().map_err(|(path, source)| DataPathError::File {
            operation: "read the number of CPUs from",
            path: path.into(),
            source,
        })?;
        let online = fs::read_to_string(ONLINE).map_err(unreadable)?.trim_end().to_owned();
        Ok(Self { possible: u32::try_from(possible).unwrap_or(u32::MAX), online })
    }

    /// How many there can be; their numbers are below this one.
    pub(super) const fn possible(&self) -> u32 {
        self.possible
    }

    /// The numbers of the CPUs that the operator wants; none when packets stay where they come in. Fails when one does
    /// not run.
    pub(super) fn chosen(&self, spread: &Spread) -> Result<Vec<u32>, DataPathError> {
        let wanted = match spread {
            Spread::Off => return Ok(Vec::new()),
            Spread::All => None,
            Spread::Cpus(cpus) => Some(cpus),
        };
        let online = numbers(&self.online).ok_or_else(|| unreadable(io::ErrorKind::InvalidData.into()))?;
        let Some(wanted) = wanted else { return Ok(online) };
        match wanted.iter().find(|cpu| !online.contains(cpu)) {
            Some(&cpu) => Err(DataPathError::CpuNotOnline { cpu, online: self.online.clone() }),
            None => Ok(wanted.clone()),
        }
    }
}

fn unreadable(source: io::Error) -> DataPathError {
    DataPathError::File { operation: "read the CPUs that are online from", path: ONLINE.into(), source }
}

/// The numbers in a list of the kernel's, as `0-3,6`; `None` when it is none.
fn numbers(list: &str) -> Option<Vec<u32>> {
    let range = |part: &str| -> Option<RangeInclusive<u32>> {
        let (first, end) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=end.parse().ok()?)
    };
    let ranges = list.split(',').map(range).collect::<Option<Vec<_>>>()?;
    Some(ranges.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus() -> Cpus {
        Cpus { possible: 8, online: "0-2,5".to_owned() }
    }

    #[test]
    fn reads_lists_of_the_kernel() {
        assert_eq!(numbers("0"), Some(vec![0]));
        assert_eq!(numbers("0-3,6,8-9"), Some(vec![0, 1, 2, 3, 6, 8, 9]));
        assert_eq!(numbers("0-"), None);
        assert_eq!(numbers(""), None);
    }

    #[test]
    fn this_box_has_a_cpu_that_runs() {
        let cpus = Cpus::read().unwrap();
        let online = cpus.chosen(&Spread::All).unwrap();
        assert!(!online.is_empty() && online.iter().all(|&cpu| cpu < cpus.possible()), "{cpus:?}");
    }

    #[test]
    fn takes_the_cpus_that_are_wanted() {
        assert!(cpus().chosen(&Spread::Off).unwrap().is_empty());
        assert_eq!(cpus().chosen(&Spread::All).unwrap(), [0, 1, 2, 5]);
        assert_eq!(cpus().chosen(&Spread::Cpus(vec![5, 1])).unwrap(), [5, 1]);
    }

    #[test]
    fn refuses_a_cpu_that_does_not_run() {
        for (cpu, what) in [(3, "offline"), (8, "impossible")] {
            let error = cpus().chosen(&Spread::Cpus(vec![0, cpu])).unwrap_err().to_string();
            let expected =
                format!("spread: CPU {cpu} is not online: the CPUs of this box that are, are 0-2,5");
            assert_eq!(error, expected, "{what}");
        }
    }
}
