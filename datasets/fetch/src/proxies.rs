//! Which proxy an address is asked through.

use crate::address;

/// Proxies, as the variables `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name them. They are asked for a tunnel (`CONNECT`), for both
/// kinds of addresses.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For addresses that begin with `https://`.
    pub https: Option<String>,
    /// For addresses that begin with `http://`.
    pub http: Option<String>,
    /// Hosts that are asked directly, separated by commas. A name stands for the host and all hosts below it; `*` for all.
    pub none: String,
}

impl Proxies {
    /// The proxy for an address.
    pub fn of(&self, address: &str) -> Option<&str> {
        let proxy = if address::is_secure(address) { &self.https } else { &self.http };
        let host = address::host(address);
        let direct = |name: &str| {
            let name = name.trim().trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
            name == "*" || (!name.is_empty() && (host == name || host.ends_with(&format!(".{name}"))))
        };
        proxy.as_deref().filter(|proxy| !proxy.is_empty() && !self.none.split(',').any(direct))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_chooses_the_proxy_and_hosts_are_left_out() {
        let proxies =
            Proxies { https: Some("http://p:1".into()), http: None, none: "localhost, .b.org,*.c.org,d.org".into() };
        assert_eq!(proxies.of("https://a.org/x"), Some("http://p:1"));
        assert_eq!(proxies.of("http://a.org/x"), None);
        for host in ["localhost", "b.org", "x.B.org:443", "y.c.org", "d.org", "z.d.org"] {
            assert_eq!(proxies.of(&format!("https://{host}/x")), None, "{host}");
        }
        assert_eq!(proxies.of("https://notd.org/"), Some("http://p:1"));
        assert_eq!(Proxies { none: "*".into(), ..proxies }.of("https://a.org/x"), None);
    }
}
