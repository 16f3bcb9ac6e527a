"""Names that Proxmox VE 8 knows in firewall rules: macros (`pve-firewall`'s own) and protocols (`/etc/protocols`)."""

MACROS = frozenset(
    """
    Amanda Auth BGP BitTorrent BitTorrent32 CVS Ceph Citrix DAAP DCC DHCPfwd DHCPv6 DNS Distcc FTP Finger GNUnet GRE Git
    HKP HTTP HTTP/3 HTTPS ICPV2 ICQ IMAP IMAPS IPIP IPsec IPsecah IPsecnat IRC Jetdirect L2TP LDAP LDAPS MDNS MSNP MSSQL
    Mail MySQL NNTP NNTPS NTP NeighborDiscovery OSPF OpenVPN PBS PCA PMG POP3 POP3S PPtP Ping PostgreSQL Printer RDP RIP
    RNDC Razor Rdate Rsync SANE SMB SMBswat SMTP SMTPS SNMP SPAMD SPICEproxy SSH SVN SixXS Squid Submission Syslog TFTP
    Telnet Telnets Time Trcrt VNC VNCL Web Webcache Webmin Whois
    """.split()
)
PROTOCOLS = frozenset(
    """
    ah dccp egp eigrp encap esp etherip fc ggp gre hip hopopt icmp icmpv6 idpr-cmtp idrp igmp igp ip ipcomp ipencap ipip
    ipv6 ipv6-frag ipv6-icmp ipv6-nonxt ipv6-opts ipv6-route isis iso-tp4 l2tp manet mobility-header mpls-in-ip ospf pim
    pup rdp rohc rspf rsvp sctp shim6 skip st tcp udp udplite vmtp vrrp wesp xns-idp xtp
    """.split()
)
WITH_PORTS = frozenset({"tcp", "udp", "udplite", "sctp", "dccp"})
"""Protocols whose packets have ports."""
OF_FAMILY = {"icmp": 4, "icmpv6": 6, "ipv6-icmp": 6}
"""Protocols of one IP version only."""
