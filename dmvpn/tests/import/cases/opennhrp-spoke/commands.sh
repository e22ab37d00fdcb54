ip tunnel add gre1 mode gre key 1234 ttl 64 tos b8 dev eth0
ip addr add 10.255.255.2/24 dev gre1
ip link set gre1 mtu 1400
ip link set gre1 up
ip route add 192.168.0.0/16 via 10.255.255.1 dev gre1
ip route add default via 198.51.100.1
