//! What the kernel tells of this process: proc(5).

use std::fs;

/// The unit of times in `/proc/self/stat`, USER_HZ: 100 a second on every architecture that we run on.
const TICKS: f64 = 100.0;

/// What this process uses. What cannot be read is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) open_fds: Option<u64>,
}

impl Process {
    pub(super) fn read() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        Self {
            resident_bytes: text("status").as_deref().and_then(resident),
            cpu_seconds: text("stat").as_deref().and_then(processor_time),
            // The one that this opens is not counted.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
        }
    }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

/// User and system time. The program's name ahead of them is in brackets, and may have brackets and spaces.
fn processor_time(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_time_and_descriptors() {
        let before = Process::read();
        let _file = fs::File::open("/dev/null").unwrap();
        assert!((1 << 20..1 << 40).contains(&before.resident_bytes.unwrap()));
        assert!((3..10_000).contains(&before.open_fds.unwrap()));
        assert!(before.cpu_seconds.unwrap() < 3_600.0);
    }

    #[test]
    fn the_fields_are_those_of_proc() {
        assert_eq!(resident("Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t    1234 kB\n"), Some(1_234 << 10));
        assert_eq!(resident("Name:\tx\n"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 157 0 0 0 150 25 0 0 20 0 4 0 100 1000 100";
        assert_eq!(processor_time(stat), Some(1.75));
        assert_eq!(processor_time("7 (a"), None);
    }
}
