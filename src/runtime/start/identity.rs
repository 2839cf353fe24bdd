//! Who a process is: a user named by the configuration, looked up in the container's own `/etc/passwd` and `/etc/group`.
//!
//! Docker's rules: a number need not be in the file (its group is then 0); the groups of a user count only if no group is
//! named; the primary group is among the supplementary ones too.

use crate::runtime::start::StartError;
use crate::runtime::start::inside::Inside;

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// All groups, the primary one first.
    pub groups: Vec<u32>,
    /// The home folder; `/` if the user has none.
    pub home: String,
}

/// Looks up `name|uid[:group|gid]` (empty: root) and further groups.
pub fn look_up(inside: Inside<'_>, user: &str, further: &[String]) -> Result<Identity, StartError> {
    let passwd = inside.read("/etc/passwd")?.unwrap_or_default();
    // Most containers run as root without further groups, but even root has groups in the file.
    let group = inside.read("/etc/group")?.unwrap_or_default();
    decide(&passwd, &group, user, further)
}

fn decide(passwd: &str, group: &str, user: &str, further: &[String]) -> Result<Identity, StartError> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((user, group)) => (user, group),
        None => (user, ""),
    };
    let wanted = if user_part.is_empty() { "0" } else { user_part };
    let number = wanted.parse::<u32>().ok();
    // A name that looks like a number is a name first.
    let entry = users(passwd)
        .find(|entry| entry.name == wanted)
        .or_else(|| users(passwd).find(|entry| Some(entry.uid) == number));
    let mut identity = match (&entry, number) {
        (Some(entry), _) => {
            Identity { uid: entry.uid, gid: entry.gid, groups: Vec::new(), home: entry.home.to_owned() }
        }
        (None, Some(uid)) => Identity { uid: range(uid)?, gid: 0, groups: Vec::new(), home: String::new() },
        (None, None) => {
            return Err(StartError::Invalid(format!(
                "unable to find user {wanted}: no matching entries in passwd file"
            )));
        }
    };
    if identity.home.is_empty() {
        "/".clone_into(&mut identity.home);
    }
    let mut supplementary = Vec::new();
    if group_part.is_empty() {
        if let Some(entry) = &entry {
            supplementary.extend(
                groups(group)
                    .filter(|group| group.members.clone().any(|member| member == entry.name))
                    .map(|group| group.gid),
            );
        }
    } else {
        identity.gid = group_number(group, group_part)?;
    }
    for name in further {
        supplementary.push(group_number(group, name)?);
    }
    identity.groups.push(identity.gid);
    for gid in supplementary {
        if !identity.groups.contains(&gid) {
            identity.groups.push(gid);
        }
    }
    Ok(identity)
}

fn group_number(file: &str, wanted: &str) -> Result<u32, StartError> {
    if let Some(group) = groups(file).find(|group| group.name == wanted) {
        return Ok(group.gid);
    }
    match wanted.parse::<u32>() {
        Ok(gid) => range(gid),
        Err(_) => Err(StartError::Invalid(format!("unable to find group {wanted}: no matching entries in group file"))),
    }
}

/// The kernel takes the largest number for "no change".
fn range(number: u32) -> Result<u32, StartError> {
    if i32::try_from(number).is_ok() {
        Ok(number)
    } else {
        Err(StartError::Invalid("uids and gids must be in range 0-2147483647".to_owned()))
    }
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn users(file: &str) -> impl Iterator<Item = User<'_>> {
    file.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let _password = fields.next()?;
        let uid = fields.next()?.parse().ok().filter(|uid| range(*uid).is_ok())?;
        let gid = fields.next()?.parse().ok().filter(|gid| range(*gid).is_ok())?;
        let _comment = fields.next();
        Some(User { name, uid, gid, home: fields.next().unwrap_or("") })
    })
}

struct Group<'a, Members> {
    name: &'a str,
    gid: u32,
    members: Members,
}

fn groups(file: &str) -> impl Iterator<Item = Group<'_, std::str::Split<'_, char>>> {
    file.lines().filter_map(|line| {
        let mut fields = line.trim().splitn(4, ':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let _password = fields.next()?;
        let gid = fields.next()?.parse().ok().filter(|gid| range(*gid).is_ok())?;
        Some(Group { name, gid, members: fields.next().unwrap_or("").split(',') })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# none\nweb:x:1000:1001:Web,,,:/home/web:/bin/sh\n1234:x:7:8::/seven:\nbad:x:a:b::/:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,web\nweb:x:1001:\nlog:x:44:web,other\n2000:x:5:\n";

    fn who(user: &str, further: &[&str]) -> Result<(u32, u32, Vec<u32>, String), String> {
        let further: Vec<String> = further.iter().map(|name| (*name).to_owned()).collect();
        decide(PASSWD, GROUP, user, &further)
            .map(|identity| (identity.uid, identity.gid, identity.groups, identity.home))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        assert_eq!(who("", &[]), Ok((0, 0, vec![0, 10], "/root".into())));
        assert_eq!(who("web", &[]), Ok((1000, 1001, vec![1001, 10, 44], "/home/web".into())));
        assert_eq!(who("1000", &[]), Ok((1000, 1001, vec![1001, 10, 44], "/home/web".into())));
        assert_eq!(who("1234", &[]), Ok((7, 8, vec![8], "/seven".into())));
        assert_eq!(who("4711", &[]), Ok((4711, 0, vec![0], "/".into())));
        assert_eq!(who("web:log", &["wheel", "99"]), Ok((1000, 44, vec![44, 10, 99], "/home/web".into())));
        assert_eq!(who("0:2000", &[]), Ok((0, 5, vec![5], "/root".into())));
        assert_eq!(who("nosuch", &[]), Err("unable to find user nosuch: no matching entries in passwd file".into()));
        assert_eq!(who("0:nosuch", &[]), Err("unable to find group nosuch: no matching entries in group file".into()));
        assert_eq!(who("bad", &[]), Err("unable to find user bad: no matching entries in passwd file".into()));
        assert_eq!(who("4294967295", &[]), Err("uids and gids must be in range 0-2147483647".into()));
    }
}
