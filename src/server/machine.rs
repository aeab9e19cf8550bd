//! What the machine offers: cores, memory, open files.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Threads that can run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Raises the limit on open files to what the system allows, as the JVM does. Returns the limit in force.
pub fn raise_open_files() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Refused: the old limit stays, and is what is told.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current
}

/// Memory this process may use: that of its cgroup, or the machine's.
pub fn memory_bytes() -> u64 {
    const CGROUP_LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let of_machine = physical_bytes();
    let number = |path: &str| {
        let text = super::files::read_if_there(path.as_ref()).ok()??;
        std::str::from_utf8(&text).ok()?.trim().parse::<u64>().ok()
    };
    CGROUP_LIMITS.iter().filter_map(|path| number(path)).fold(of_machine, u64::min)
}

fn physical_bytes() -> u64 {
    const FALLBACK: u64 = 1 << 30;
    let read = || {
        let text = super::files::read_if_there("/proc/meminfo".as_ref()).ok()??;
        let text = String::from_utf8(text).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    read().unwrap_or(FALLBACK)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_machine_has_something() {
        assert!(super::cores() >= 1);
        assert!(super::memory_bytes() > 1 << 20);
        assert!(super::raise_open_files().is_none_or(|n| n > 16));
    }
}
