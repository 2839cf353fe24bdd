//! What this process maps, for one that lives long and does little: pages of the program that only its beginning needed.

use std::ffi::c_void;

/// More than the program's file has.
const MAPPINGS: usize = 8;

/// Has the allocator keep one heap for all threads: each further one would cost a quarter of a megabyte.
///
/// To be called before there are threads.
pub fn share_one_heap() {
    // SAFETY: sets a number in the allocator; it touches no memory of ours.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Lets go of every page of the program's own file that is as in the file, and gives free memory back. What is needed again
/// is mapped again when it is touched, mostly without reading the file.
pub fn forget_beginning() {
    // SAFETY: gives back memory that the allocator has free; nobody has pointers into it.
    unsafe { libc::malloc_trim(0) };
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return };
    let mut ranges = [(0, 0); MAPPINGS];
    for (range, found) in ranges.iter_mut().zip(untouched(&maps)) {
        *range = found;
    }
    drop(maps);
    // Nothing but this from here on: what runs behind it is mapped again, with what lies around it.
    for (start, end) in ranges {
        // SAFETY: the range is mapped from a file, can't be written, and holds no page that differs from the file, so
        // that touching it again gives the same bytes. This thread's own code comes back with its next instruction.
        unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// The ranges that are mapped from a file for reading alone, and without a page of their own.
fn untouched(maps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in maps.lines() {
        if let Some(mapping) = mapping(line) {
            candidate = mapping;
        } else if let Some(rest) = line.strip_prefix("Anonymous:")
            && rest.split_ascii_whitespace().next() == Some("0")
        {
            found.extend(candidate.take());
        }
    }
    found
}

/// A line that begins a mapping: its range, if it is a read-only one of a file.
fn mapping(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = (address(start)?, address(end)?);
    let permissions = words.next()?;
    let file = words.nth(2)? != "0";
    Some((permissions.starts_with('r') && permissions.get(1..2) == Some("-") && file).then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_the_file_is_let_go() {
        let maps = "\
7f00-7f10 r--p 00000000 fe:00 11 /x\nRss: 4 kB\nAnonymous:             0 kB\nVmFlags: rd mr
7f10-7f20 r-xp 00001000 fe:00 11 /x\nAnonymous:             0 kB
7f20-7f30 r--p 00002000 fe:00 11 /x\nAnonymous:             216 kB
7f30-7f40 rw-p 00003000 fe:00 11 /x\nAnonymous:             0 kB
7f40-7f50 r-xp 00000000 00:00 0 [vdso]\nAnonymous:             0 kB
";
        assert_eq!(untouched(maps), [(0x7f00, 0x7f10), (0x7f10, 0x7f20)]);
        forget_beginning();
        assert_eq!(untouched(maps).len(), 2, "and all goes on");
    }
}
