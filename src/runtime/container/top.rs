//! The processes of a container, as `ps -ef` shows them.

use std::io;
use std::time::Duration;

use crate::engine::ProcessRow;

/// Clock ticks in a second, as /proc counts them for programs (`USER_HZ`, fixed on Linux).
const TICKS: u64 = 100;

/// Reads the processes of these ids; those that have ended meanwhile are left out.
pub fn rows(pids: &[i32]) -> io::Result<Vec<ProcessRow>> {
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    Ok(pids.iter().filter_map(|pid| row(*pid, uptime)).collect())
}

fn row(pid: i32, uptime: f64) -> Option<ProcessRow> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<i64>().ok());
    let ticks = u64::try_from(number(14)? + number(15)?).ok()?;
    let age = uptime - number(22)? as f64 / TICKS as f64;
    let busy = ticks as f64 / TICKS as f64;
    let began = std::time::SystemTime::now().checked_sub(Duration::try_from_secs_f64(age.max(0.0)).ok()?)?;
    let began = jiff::Timestamp::try_from(began).ok()?.to_zoned(jiff::tz::TimeZone::system());
    let seconds = ticks / TICKS;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?;
    let words = cmdline.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let cmd = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ");
    Some(ProcessRow {
        uid: user(uid),
        pid,
        ppid: i32::try_from(number(4)?).ok()?,
        c: if age > 0.0 { (busy / age * 100.0) as u32 } else { 0 },
        stime: began.strftime(if age < 86_400.0 { "%H:%M" } else { "%b%d" }).to_string(),
        tty: match number(7)? {
            0 => "?".into(),
            // Unix 98 terminals have the major numbers 136 to 143 (proc_pid_stat(5), tty_nr).
            device => format!("pts/{}", (device & 0xff) | ((device >> 12) & 0xf_ff00)),
        },
        time: format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        cmd: if cmd.is_empty() { format!("[{name}]") } else { cmd },
    })
}

/// The host's name for a user id, as `ps` on the host shows it.
fn user(uid: &str) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| uid.to_owned())
}
