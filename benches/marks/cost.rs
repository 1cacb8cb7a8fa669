//! What a process has cost, by the operating system's own accounting.

use std::fs;

/// CPU seconds, in user and kernel mode.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // The name may hold anything; what follows it is numbers.
    let (_, numbers) = stat.rsplit_once(')').expect("a name in parentheses");
    let field = |index: usize| -> f64 {
        let text = numbers.split_whitespace().nth(index);
        text.and_then(|text| text.parse().ok()).expect("a number")
    };
    (field(11) + field(12)) / rustix::param::clock_ticks_per_second() as f64
}

/// Resident memory, in KiB.
pub fn resident_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .expect("a number of KiB")
}
