//! Proxies, from the environment (as Go's library, and so Docker, reads it): `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`; `ALL_PROXY` for
//! whatever the other two leave open. Lower-case names are read, too.
//!
//! A variable that names no proxy is an error: whoever sets one does not want to be seen going another way.

use std::net::IpAddr;

use reqwest::Url;

use crate::runtime::image::registry::error::{BY_PROXY, RegistryError, innermost};
use crate::runtime::image::registry::settings::{contains, host_name, is_loopback};

/// What a proxy may speak.
const SCHEMES: [&str; 6] = ["http", "https", "socks5", "socks5h", "socks4", "socks4a"];

/// Which proxy is the way to what.
#[derive(Debug, Clone, Default)]
pub(in crate::runtime) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    /// What is reached without one: `*`, addresses, networks, domains.
    without: Vec<String>,
}

/// A proxy.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    /// Which variable names it.
    pub(super) variable: &'static str,
    /// Where it is; perhaps with a password.
    pub(super) address: Url,
}

impl Proxies {
    /// As the environment says for this host, with or without a port, and for whoever it leads to.
    pub(super) fn to(host: &str) -> Result<Proxies, RegistryError> {
        Proxies::read(host, |name| std::env::var(name).ok())
    }

    fn read(host: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Proxies, RegistryError> {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, variable(name).filter(|text| !text.is_empty())?)))
        };
        let without = first(["NO_PROXY", "no_proxy"]).map(|(_, text)| text).unwrap_or_default();
        let without = without.split(',').map(|one| one.trim().to_ascii_lowercase()).filter(|one| !one.is_empty());
        let mut proxies = Proxies { without: without.collect(), ..Proxies::default() };
        // It may lead to others, which are asked for their tokens and blobs: only its own way needs none of them.
        let passed_by = proxies.passes_by(host);
        let proxy = |names| match first(names).map(|(name, text)| Proxy::parse(name, &text)).transpose() {
            Err(_) if passed_by => Ok(None),
            other => other,
        };
        let all = proxy(["ALL_PROXY", "all_proxy"])?;
        proxies.http = proxy(["HTTP_PROXY", "http_proxy"])?.or_else(|| all.clone());
        proxies.https = proxy(["HTTPS_PROXY", "https_proxy"])?.or(all);
        Ok(proxies)
    }

    /// The proxy for an address.
    pub(super) fn find(&self, address: &Url) -> Option<&Proxy> {
        let proxy = match address.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        }?;
        let host = address.host_str()?;
        let host = address.port_or_known_default().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        (!self.passes_by(&host)).then_some(proxy)
    }

    /// Why there is no answer, with the proxy that was to bring it.
    pub(in crate::runtime) fn reason(&self, error: &reqwest::Error) -> String {
        match error.url().and_then(|address| self.find(address)) {
            Some(proxy) => format!("{BY_PROXY}{} ({}): {}", proxy.host(), proxy.variable, innermost(error)),
            None => innermost(error),
        }
    }

    /// Whether a host, with or without a port, is reached without a proxy.
    fn passes_by(&self, host: &str) -> bool {
        let name = host_name(host);
        let address: Option<IpAddr> = name.parse().ok();
        let port = host.rsplit_once(':').map(|(_, port)| port).filter(|_| host.len() > name.len());
        let is_meant = |one: &String| {
            if one == "*" || address.is_some_and(|address| contains(one, address)) {
                return true;
            }
            let wanted = host_name(one);
            let wanted_port = one[wanted.len()..].rsplit_once(':').map(|(_, port)| port);
            if wanted_port.is_some_and(|wanted| !wanted.is_empty() && port.is_some_and(|port| port != wanted)) {
                return false;
            }
            if let Ok(wanted) = wanted.parse::<IpAddr>() {
                return address == Some(wanted);
            }
            let domain = wanted.strip_prefix('*').unwrap_or(wanted);
            match name.strip_suffix(domain) {
                Some("") => !domain.starts_with('.'),
                Some(before) => domain.starts_with('.') || before.ends_with('.'),
                None => false,
            }
        };
        is_loopback(host) || self.without.iter().any(is_meant)
    }
}

impl Proxy {
    /// The text is not repeated: there may be a password in it.
    fn parse(variable: &'static str, text: &str) -> Result<Proxy, RegistryError> {
        let wrong = |reason: String| RegistryError::Settings { path: variable.to_owned(), reason };
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let address = Url::parse(&text).map_err(|error| wrong(format!("it names no proxy: {error}")))?;
        if !SCHEMES.contains(&address.scheme()) {
            let reason = format!("it names no proxy: {}:// is none of {}", address.scheme(), SCHEMES.join(", "));
            return Err(wrong(reason));
        }
        match address.host_str() {
            None | Some("") => Err(wrong("it names no proxy: there is no host in it".to_owned())),
            Some(_) => Ok(Proxy { variable, address }),
        }
    }

    /// For people: host and port.
    pub(super) fn host(&self) -> String {
        let host = self.address.host_str().unwrap_or_default();
        self.address.port_or_known_default().map_or(host.to_owned(), |port| format!("{host}:{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(host: &str, variables: &[(&str, &str)]) -> Result<Proxies, RegistryError> {
        let find = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).to_owned());
        Proxies::read(host, find)
    }

    #[test]
    fn what_is_named_is_reached_without_a_proxy() {
        let through = |host: &str, without: &str| {
            let variables = [("HTTPS_PROXY", "proxy.example:3128"), ("NO_PROXY", without)];
            let address = Url::parse(&format!("https://{host}/")).unwrap();
            read(host, &variables).unwrap().find(&address).is_some()
        };
        for (host, without, expected) in [
            ("reg.example", "", true),
            ("localhost:5000", "", false),
            ("127.0.0.1", "", false),
            ("[::1]:5000", "", false),
            ("reg.example", "*", false),
            ("reg.example", "other, reg.example", false),
            ("reg.example:5000", "REG.example", false),
            ("reg.example:5000", "reg.example:5000", false),
            ("reg.example:5001", "reg.example:5000", true),
            ("a.reg.example", "reg.example", false),
            ("areg.example", "reg.example", true),
            ("reg.example", ".reg.example", true),
            ("a.reg.example", ".reg.example", false),
            ("a.reg.example", "*.reg.example", false),
            ("10.1.2.3:80", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.3", false),
            ("10.1.2.30", "10.1.2.3", true),
            ("[fd00::1]:5000", "fd00::/8", false),
        ] {
            assert_eq!(through(host, without), expected, "{host} with NO_PROXY={without}");
        }
    }

    #[test]
    fn each_kind_of_address_has_its_variable_and_all_the_rest_another() {
        let proxies =
            read("reg.example", &[("ALL_PROXY", "socks5://a"), ("HTTP_PROXY", ""), ("http_proxy", "u:p@b")]).unwrap();
        let named = |address: &str| {
            let proxy = proxies.find(&Url::parse(address).unwrap()).unwrap();
            (proxy.variable, proxy.host())
        };
        assert_eq!(named("https://x"), ("ALL_PROXY", "a".to_owned()));
        assert_eq!(named("http://x"), ("http_proxy", "b:80".to_owned()));
        assert!(read("reg.example", &[]).unwrap().find(&Url::parse("http://x").unwrap()).is_none());
    }

    #[test]
    fn what_is_no_proxy_is_named_by_its_variable_without_its_secrets() {
        for text in ["nonsense://u:secret@x", "ftp://u:secret@x", "http://[::", "http://", "http://u:secret@x:99999"] {
            let error = read("reg.example", &[("HTTP_PROXY", text)]).unwrap_err().to_string();
            assert!(error.starts_with("HTTP_PROXY: it names no proxy: ") && !error.contains("secret"), "{error}");
            assert!(read("127.0.0.1:5000", &[("HTTP_PROXY", text)]).is_ok());
        }
    }
}
