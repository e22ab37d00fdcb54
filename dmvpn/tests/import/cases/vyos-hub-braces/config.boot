/* a hub */
interfaces {
    ethernet eth0 {
        address 192.0.2.1/24
        hw-id 52:54:00:12:34:56
    }
    tunnel tun7 {
        address 10.7.0.1/24
        encapsulation gre
        local-ip 192.0.2.1
        multicast enable
        parameters {
            ip {
                key 7
                ttl 64
            }
        }
    }
    tunnel tun8 {
        encapsulation sit
        address 10.8.0.1/30
        local-ip 192.0.2.1
        remote-ip 198.51.100.8
    }
}
protocols {
    nhrp {
        tunnel tun7 {
            cisco-authentication s3cret7
            holding-time 300
            multicast dynamic
            redirect
            shortcut-target 10.0.0.0/8 {
                holding-time 300
            }
            non-caching
            map 10.7.0.200/24 {
                cisco
                nbma-address 203.0.113.200
            }
        }
    }
    ospf {
        area 0 {
            network 10.7.0.0/24
        }
        passive-interface eth1
    }
    bgp 65000 {
        neighbor 10.7.0.2 {
            remote-as 65000
            password s3cr
        }
    }
    static {
        route 192.168.2.0/24 {
            next-hop 10.7.0.2 {
            }
        }
    }
}
system {
    host-name hub
    login {
        user vyos {
            authentication {
                encrypted-password "$6$s3cr"
            }
        }
    }
}
vpn {
    ipsec {
        esp-group ESP {
            compression enable
            lifetime 1800
            mode transport
            pfs disable
            proposal 1 {
                encryption aes128gcm128
                hash sha256
            }
            proposal 2 {
                encryption 3des
                hash md5
            }
        }
        ike-group IKE {
            key-exchange ikev2
            lifetime 3600
            proposal 1 {
                dh-group 5
                encryption aes256
                hash sha256
            }
            proposal 2 {
                dh-group 19
                encryption aes256gcm128
                hash sha256
                prf prfsha256
            }
        }
        profile NHRP {
            authentication {
                mode pre-shared-secret
                pre-shared-secret s3cr
            }
            bind {
                tunnel tun7
            }
            esp-group ESP
            ike-group IKE
        }
        site-to-site {
            peer 198.51.100.8 {
                ike-group IKE
            }
        }
    }
}
