//! Addresses: where a redirect leads, and where a mirror holds a file.

/// Scheme, host with port, and path with what follows it.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
}

fn parts(address: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = address.split_once("://")?;
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some(Parts { scheme, host: &rest[..at], path: &rest[at..] })
}

/// An address as it is shown and stored: without user and password.
pub fn shown(address: &str) -> String {
    let start = address.find("://").map_or(0, |at| at + 3);
    let end = address[start..].find(['/', '?', '#']).map_or(address.len(), |at| start + at);
    match address[start..end].rfind('@') {
        Some(at) => format!("{}{}", &address[..start], &address[start + at + 1..]),
        None => address.to_owned(),
    }
}

/// The host of an address, without port and user, in lower case.
pub fn host(address: &str) -> String {
    let host = parts(address).map_or("", |parts| parts.host);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    // A port, but not the end of an IPv6 address.
    let bare =
        host.rsplit_once(':').filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit())).map_or(host, |(h, _)| h);
    bare.trim_matches(['[', ']']).to_ascii_lowercase()
}

/// Whether an address is encrypted.
pub fn is_secure(address: &str) -> bool {
    address.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

/// The address that a `Location` means when `from` sends it.
///
/// # Errors
/// A scheme other than http and https, or an encrypted address that leads to one that is not.
pub fn redirected(from: &str, location: &str) -> Result<String, String> {
    let location = location.split('#').next().unwrap_or_default();
    let base = parts(from).ok_or_else(|| format!("`{}` is not an address", shown(from)))?;
    let to = if location.contains("://") && !location.starts_with(['/', '?']) {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{}://{rest}", base.scheme)
    } else if location.starts_with('/') {
        format!("{}://{}{location}", base.scheme, base.host)
    } else {
        let path = base.path.split(['?', '#']).next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{}://{}{folder}/{location}", base.scheme, base.host)
    };
    let plain = to.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"));
    if is_secure(from) && plain {
        return Err(format!("it leads to {}, which is not encrypted", shown(&to)));
    }
    if !plain && !is_secure(&to) {
        return Err(format!("it leads to {}, which is neither http nor https", shown(&to)));
    }
    Ok(to)
}

/// Where a mirror holds the file of an address; None if that is no address.
pub fn mirrored(mirror: &str, address: &str) -> Option<String> {
    let parts = parts(address)?;
    Some(format!("{}/{}{}", mirror.trim_end_matches('/'), parts.host, parts.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_where_a_browser_would_go() {
        let to = |location: &str| redirected("http://a.org:8/x/y?z=1", location);
        assert_eq!(to("http://b.org/q"), Ok("http://b.org/q".into()));
        assert_eq!(to("https://b.org/q?u=http://c"), Ok("https://b.org/q?u=http://c".into()));
        assert_eq!(to("//b.org/q"), Ok("http://b.org/q".into()));
        assert_eq!(to("/q?u=http://c#d"), Ok("http://a.org:8/q?u=http://c".into()));
        assert_eq!(to("q"), Ok("http://a.org:8/x/q".into()));
        assert_eq!(to("ftp://b.org/q"), Err("it leads to ftp://b.org/q, which is neither http nor https".into()));
        assert_eq!(redirected("https://a", "http://b"), Err("it leads to http://b, which is not encrypted".into()));
    }

    #[test]
    fn mirrors_keep_host_and_path() {
        let mirror = |address: &str| mirrored("http://m:1/data/", address);
        assert_eq!(mirror("https://a.org/x/y.gz").as_deref(), Some("http://m:1/data/a.org/x/y.gz"));
        assert_eq!(mirror("x/y.gz"), None);
        assert_eq!(host("http://u:p@A.org:80/x:1"), "a.org");
        assert_eq!(host("http://[::1]:80/"), "::1");
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("https://u:p@a.org:80/x@y?z=@"), "https://a.org:80/x@y?z=@");
        assert_eq!(shown("https://u:p@q@a.org"), "https://a.org");
        assert_eq!(shown("u:p@a.org/x"), "a.org/x");
        assert_eq!(shown("https://a.org/x@y"), "https://a.org/x@y");
        assert_eq!(
            redirected("https://u:p@a.org/x", "http://v:q@b.org/"),
            Err("it leads to http://b.org/, which is not encrypted".into())
        );
    }
}
