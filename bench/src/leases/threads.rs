//! Processor time of this process's threads, by their names.

use std::fs;

/// Nanoseconds that the threads of this name have used so far.
pub(super) fn nanoseconds(name: &str) -> u64 {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return 0 };
    let one = |task: fs::DirEntry| {
        let comm = fs::read_to_string(task.path().join("comm")).ok()?;
        let used = fs::read_to_string(task.path().join("schedstat")).ok()?;
        (comm.trim_end() == name).then(|| used.split(' ').next()?.parse::<u64>().ok()).flatten()
    };
    tasks.filter_map(Result::ok).filter_map(one).sum()
}
