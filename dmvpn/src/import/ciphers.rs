//! Names of algorithms: vendors' words -> strongSwan's keywords.

use super::verdict::{Judgement, converted, refused};

/// An algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Algorithm {
    /// strongSwan's keyword.
    pub(super) name: &'static str,
    /// Why it should not be used any more.
    pub(super) weak: Option<&'static str>,
}

impl Algorithm {
    const fn good(name: &'static str) -> Self {
        Self { name, weak: None }
    }

    const fn weak(name: &'static str, why: &'static str) -> Self {
        Self { name, weak: Some(why) }
    }

    /// What becomes of the line that asked for it under `setting` of swanctl.
    pub(super) fn judge(self, setting: &str) -> Judgement {
        match self.weak {
            None => converted(format!("swanctl: {setting}, {}", self.name)),
            Some(why) => refused(format!("{why}: kept in the swanctl fragment ({setting}), marked weak")),
        }
    }
}

const DES: &str = "DES is broken";
const TRIPLE_DES: &str = "3DES has blocks of 64 bits";
const NULL: &str = "nothing is encrypted";
const MD5: &str = "MD5 is broken";
const SMALL_GROUP: &str = "the Diffie-Hellman group is too small";

/// A cipher. `name` is with or without `esp-` and the like, `bits` what stands behind it as a word of its own.
pub(super) fn encryption(name: &str, bits: Option<&str>) -> Option<Algorithm> {
    let name = name.to_ascii_lowercase();
    let bare = name.strip_prefix("esp-").unwrap_or(&name);
    let mut word: String = bare.chars().filter(char::is_ascii_alphanumeric).collect();
    word.push_str(bits.unwrap_or_default());
    Some(match word.as_str() {
        "aes" | "aes128" | "aescbc" | "aescbc128" => Algorithm::good("aes128"),
        "aes192" | "aescbc192" => Algorithm::good("aes192"),
        "aes256" | "aescbc256" => Algorithm::good("aes256"),
        "aes128ctr" | "aesctr128" | "aesctr" => Algorithm::good("aes128ctr"),
        "aes256ctr" | "aesctr256" => Algorithm::good("aes256ctr"),
        "gcm" | "gcm128" | "aesgcm" | "aesgcm128" | "aes128gcm128" => Algorithm::good("aes128gcm16"),
        "gcm192" | "aesgcm192" | "aes192gcm128" => Algorithm::good("aes192gcm16"),
        "gcm256" | "aesgcm256" | "aes256gcm128" => Algorithm::good("aes256gcm16"),
        "aes128gcm64" => Algorithm::good("aes128gcm8"),
        "aes256gcm64" => Algorithm::good("aes256gcm8"),
        "aes128gcm96" => Algorithm::good("aes128gcm12"),
        "aes256gcm96" => Algorithm::good("aes256gcm12"),
        "chacha20poly1305" => Algorithm::good("chacha20poly1305"),
        "camellia" | "camellia128" => Algorithm::good("camellia128"),
        "camellia256" => Algorithm::good("camellia256"),
        "3des" => Algorithm::weak("3des", TRIPLE_DES),
        "des" => Algorithm::weak("des", DES),
        "null" => Algorithm::weak("null", NULL),
        _ => return None,
    })
}

/// A hash for integrity, with or without `esp-`, `hmac` and the like.
pub(super) fn integrity(name: &str) -> Option<Algorithm> {
    let name = name.to_ascii_lowercase();
    let word: String = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|part| !matches!(*part, "esp" | "hmac"))
        .collect();
    Some(match word.as_str() {
        "sha" | "sha1" => Algorithm::good("sha1"),
        "sha256" | "sha2256" => Algorithm::good("sha256"),
        "sha384" | "sha2384" => Algorithm::good("sha384"),
        "sha512" | "sha2512" => Algorithm::good("sha512"),
        "aesxcbc" | "aesxcbcmac96" => Algorithm::good("aesxcbc"),
        "md5" => Algorithm::weak("md5", MD5),
        _ => return None,
    })
}

/// A pseudo-random function of IKEv2.
pub(super) fn random_function(name: &str) -> Option<Algorithm> {
    Some(match integrity(name)?.name {
        "sha1" => Algorithm::good("prfsha1"),
        "sha256" => Algorithm::good("prfsha256"),
        "sha384" => Algorithm::good("prfsha384"),
        "sha512" => Algorithm::good("prfsha512"),
        "aesxcbc" => Algorithm::good("prfaesxcbc"),
        _ => Algorithm::weak("prfmd5", MD5),
    })
}

/// A Diffie-Hellman group: `14`, `group14`, `dh-group14` or `modp2048`.
pub(super) fn group(name: &str) -> Option<Algorithm> {
    let name = name.to_ascii_lowercase();
    let bare = name.strip_prefix("dh-").unwrap_or(&name);
    let bare = bare.strip_prefix("group").unwrap_or(bare);
    Some(match bare {
        "1" | "modp768" => Algorithm::weak("modp768", SMALL_GROUP),
        "2" | "modp1024" => Algorithm::weak("modp1024", SMALL_GROUP),
        "5" | "modp1536" => Algorithm::weak("modp1536", SMALL_GROUP),
        "14" | "modp2048" => Algorithm::good("modp2048"),
        "15" | "modp3072" => Algorithm::good("modp3072"),
        "16" | "modp4096" => Algorithm::good("modp4096"),
        "17" | "modp6144" => Algorithm::good("modp6144"),
        "18" | "modp8192" => Algorithm::good("modp8192"),
        "19" | "ecp256" => Algorithm::good("ecp256"),
        "20" | "ecp384" => Algorithm::good("ecp384"),
        "21" | "ecp521" => Algorithm::good("ecp521"),
        "22" | "modp1024s160" => Algorithm::weak("modp1024s160", SMALL_GROUP),
        "23" | "modp2048s224" => Algorithm::good("modp2048s224"),
        "24" | "modp2048s256" => Algorithm::good("modp2048s256"),
        "25" | "ecp192" => Algorithm::weak("ecp192", SMALL_GROUP),
        "26" | "ecp224" => Algorithm::good("ecp224"),
        "28" => Algorithm::good("ecp256bp"),
        "29" => Algorithm::good("ecp384bp"),
        "30" => Algorithm::good("ecp512bp"),
        "31" | "curve25519" => Algorithm::good("curve25519"),
        "32" | "curve448" => Algorithm::good("curve448"),
        _ => return None,
    })
}

/// Whether it encrypts and authenticates in one, so that no hash stands beside it.
pub(super) fn is_combined(cipher: &str) -> bool {
    cipher.contains("gcm") || cipher == "chacha20poly1305"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(algorithm: Option<Algorithm>) -> &'static str {
        algorithm.map_or("?", |algorithm| algorithm.name)
    }

    #[test]
    fn knows_every_vendors_words() {
        for (word, bits, expected) in [
            ("esp-aes", Some("256"), "aes256"),
            ("aes-256", None, "aes256"),
            ("aes-cbc-128", None, "aes128"),
            ("aes256gcm128", None, "aes256gcm16"),
            ("esp-gcm", Some("256"), "aes256gcm16"),
            ("esp-3des", None, "3des"),
            ("rot13", None, "?"),
        ] {
            assert_eq!(name(encryption(word, bits)), expected, "{word}");
        }
        for (word, expected) in [
            ("esp-sha256-hmac", "sha256"),
            ("hmac-sha2-256", "sha256"),
            ("hmac_sha1", "sha1"),
            ("sha2-512", "sha512"),
            ("esp-sha-hmac", "sha1"),
            ("md5", "md5"),
        ] {
            assert_eq!(name(integrity(word)), expected, "{word}");
        }
        assert_eq!(name(random_function("hmac-sha2-256")), "prfsha256");
        assert_eq!(name(group("dh-group2")), "modp1024");
        assert_eq!(name(group("group14")), "modp2048");
    }

    #[test]
    fn marks_what_is_weak() {
        let weak = ["des", "3des", "null"].map(|word| encryption(word, None));
        let weak = weak.into_iter().chain([integrity("md5")]).chain(["1", "2", "5", "22", "25"].map(group));
        for algorithm in weak {
            assert!(algorithm.is_some_and(|algorithm| algorithm.weak.is_some()), "{algorithm:?}");
        }
        assert_eq!(group("14").and_then(|group| group.weak), None);
    }
}
