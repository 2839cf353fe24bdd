//! Limits that can't be, in Docker's words.

use crate::engine::Resources;
use crate::runtime::cgroup::CgroupError;

const SIX_MEBIBYTES: u64 = 6 << 20;

/// Checks limits as Docker does before anything is made.
pub fn check(resources: &Resources, processors: usize) -> Result<(), CgroupError> {
    match reason(resources, processors) {
        Some(reason) => Err(CgroupError::Invalid(reason)),
        None => Ok(()),
    }
}

fn reason(resources: &Resources, processors: usize) -> Option<String> {
    let set = |value: Option<u64>| value.filter(|value| *value != 0);
    let swap = resources.memory_swap.filter(|swap| *swap != 0);
    let says = |wrong: bool, text: &str| wrong.then(|| text.to_owned());
    let memory = set(resources.memory);
    says(memory.is_some_and(|memory| memory < SIX_MEBIBYTES), "Minimum memory limit allowed is 6MB")
        .or_else(|| {
            let text = "You should always set the Memory limit when using Memoryswap limit, see usage";
            says(memory.is_none() && swap.is_some_and(|swap| swap > 0), text)
        })
        .or_else(|| {
            let smaller = memory.zip(swap).is_some_and(|(memory, swap)| swap > 0 && swap.unsigned_abs() < memory);
            says(smaller, "Minimum memoryswap limit should be larger than memory limit, see usage")
        })
        .or_else(|| {
            let swappiness = resources.memory_swappiness.filter(|swappiness| *swappiness > 100)?;
            Some(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100"))
        })
        .or_else(|| {
            let reserved = set(resources.memory_reservation)?;
            says(reserved < SIX_MEBIBYTES, "Minimum memory reservation allowed is 6MB").or_else(|| {
                let text = "Minimum memory limit can not be less than memory reservation limit, see usage";
                says(memory.is_some_and(|memory| memory < reserved), text)
            })
        })
        .or_else(|| processors_reason(resources, processors))
        .or_else(|| {
            let wrong = resources.blkio_weight.is_some_and(|weight| weight != 0 && !(10..=1000).contains(&weight));
            says(wrong, "Range of blkio weight is from 10 to 1000")
        })
        .or_else(|| {
            let score = resources.oom_score_adj.filter(|score| !(-1000..=1000).contains(score))?;
            Some(format!("Invalid value {score}, range for oom score adj is [-1000, 1000]"))
        })
}

fn processors_reason(resources: &Resources, processors: usize) -> Option<String> {
    let (quota, period) =
        (resources.cpu_quota.filter(|quota| *quota != 0), resources.cpu_period.filter(|period| *period != 0));
    if let Some(nano) = resources.nano_cpus.filter(|nano| *nano != 0) {
        if period.is_some() {
            return Some("Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned());
        }
        if quota.is_some() {
            return Some("Conflicting options: Nano CPUs and CPU Quota cannot both be set".to_owned());
        }
        if u128::from(nano) > processors as u128 * 1_000_000_000 {
            return Some(format!(
                "range of CPUs is from 0.01 to {processors}.00, as there are only {processors} CPUs available"
            ));
        }
    }
    if quota.is_some_and(|quota| (1..1000).contains(&quota)) {
        return Some("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    if period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
        return Some("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".to_owned());
    }
    let cpuset = resources.cpuset.as_deref().filter(|set| !set.is_empty())?;
    match highest(cpuset) {
        None => Some(format!("Invalid value {cpuset} for cpuset cpus")),
        Some(highest) if highest >= processors => {
            let last = processors.saturating_sub(1);
            Some(format!("Requested CPUs are not available - requested {cpuset}, available: 0-{last}"))
        }
        Some(_) => None,
    }
}

/// The highest processor of a list as `0-3,5`.
fn highest(list: &str) -> Option<usize> {
    let mut highest = 0;
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (usize, usize) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        if from > to {
            return None;
        }
        highest = highest.max(to);
    }
    Some(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_limits_are_refused_in_dockers_words() {
        let says =
            |resources: Resources| check(&resources, 2).map_err(|error| error.to_string()).err().unwrap_or_default();
        let none = Resources::default;
        assert_eq!(says(none()), "");
        assert_eq!(says(Resources { memory: Some(5 << 20), ..none() }), "Minimum memory limit allowed is 6MB");
        assert_eq!(
            says(Resources { memory_swap: Some(1 << 30), ..none() }),
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        );
        assert_eq!(
            says(Resources { nano_cpus: Some(3_000_000_000), ..none() }),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
        );
        assert_eq!(says(Resources { cpuset: Some("0-1".into()), ..none() }), "");
        assert_eq!(
            says(Resources { cpuset: Some("0-7".into()), ..none() }),
            "Requested CPUs are not available - requested 0-7, available: 0-1"
        );
        assert_eq!(says(Resources { cpuset: Some("a".into()), ..none() }), "Invalid value a for cpuset cpus");
    }
}
