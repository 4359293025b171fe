"""URLs that the guard must refuse, and some that it must not. "{port}" is where a test may put a sentinel's port."""

# ruff: noqa: RUF001 - characters that look like others are what this is about

from typing import NamedTuple


class Edges(NamedTuple):
    """A denied network by its first and last address, and the public ones next to it."""

    first: str
    last: str
    public: tuple[str, ...]


F = "ffff:ffff:ffff:ffff"

V4 = (
    Edges("0.0.0.0", "0.255.255.255", ("1.0.0.0",)),
    Edges("10.0.0.0", "10.255.255.255", ("9.255.255.255", "11.0.0.0")),
    Edges("100.64.0.0", "100.127.255.255", ("100.63.255.255", "100.128.0.0")),
    Edges("127.0.0.0", "127.255.255.255", ("126.255.255.255", "128.0.0.0")),
    Edges("168.63.129.16", "168.63.129.16", ("168.63.129.15", "168.63.129.17")),
    Edges("169.254.0.0", "169.254.255.255", ("169.253.255.255", "169.255.0.0")),
    Edges("172.16.0.0", "172.31.255.255", ("172.15.255.255", "172.32.0.0")),
    Edges("192.0.0.0", "192.0.0.255", ("191.255.255.255", "192.0.1.0")),
    Edges("192.0.2.0", "192.0.2.255", ("192.0.1.255", "192.0.3.0")),
    Edges("192.88.99.0", "192.88.99.255", ("192.88.98.255", "192.88.100.0")),
    Edges("192.168.0.0", "192.168.255.255", ("192.167.255.255", "192.169.0.0")),
    Edges("198.18.0.0", "198.19.255.255", ("198.17.255.255", "198.20.0.0")),
    Edges("198.51.100.0", "198.51.100.255", ("198.51.99.255", "198.51.101.0")),
    Edges("203.0.113.0", "203.0.113.255", ("203.0.112.255", "203.0.114.0")),
    Edges("224.0.0.0", "239.255.255.255", ("223.255.255.255",)),
    Edges("240.0.0.0", "255.255.255.255", ()),
)
V6 = (
    Edges("::", "::ffff:ffff", ("::ffff:808:808",)),
    Edges("::1", "::1", ()),
    Edges("::1:0:0", f"1fff:ffff:ffff:ffff:{F}", (f"2000:{F}:ffff:ffff:ffff", "2000::")),
    Edges("::ffff:0:0:0", "::ffff:0:ffff:ffff", ()),
    Edges("64:ff9b:0:0:0:1::", "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", ("64:ff9b::808:808",)),
    Edges("64:ff9b:1::", f"64:ff9b:1:ffff:{F}", ()),
    Edges("100::", f"100::{F}", ()),
    Edges("2001::", f"2001:0:ffff:ffff:{F}", ()),
    Edges("2001:1::", f"2001:1ff:ffff:ffff:{F}", (f"2000:ffff:ffff:ffff:{F}", "2001:200::")),
    Edges("2001:db8::", f"2001:db8:ffff:ffff:{F}", (f"2001:db7:ffff:ffff:{F}", "2001:db9::")),
    Edges("2002::", f"2002:ffff:ffff:ffff:{F}", (f"2001:ffff:ffff:ffff:{F}", "2003::")),
    Edges("3fff::", f"3fff:fff:ffff:ffff:{F}", (f"3ffe:ffff:ffff:ffff:{F}", "3fff:1000::")),
    Edges("4000::", f"5eff:ffff:ffff:ffff:{F}", (f"3fff:ffff:ffff:ffff:{F}",)),
    Edges("5f00::", f"5f00:ffff:ffff:ffff:{F}", ()),
    Edges("5f01::", f"fbff:ffff:ffff:ffff:{F}", ()),
    Edges("fc00::", f"fdff:ffff:ffff:ffff:{F}", ()),
    Edges("fe00::", f"fe7f:ffff:ffff:ffff:{F}", ()),
    Edges("fe80::", f"febf:ffff:ffff:ffff:{F}", ()),
    Edges("fec0::", f"feff:ffff:ffff:ffff:{F}", ()),
    Edges("ff00::", f"ffff:ffff:ffff:ffff:{F}", ()),
)
DENIED = [address for edges in V4 + V6 for address in dict.fromkeys((edges.first, edges.last))] + [
    *("100.100.100.200", "127.0.0.1", "169.254.169.254", "192.0.0.192", "255.255.255.255", "fd00:ec2::254"),
]
PUBLIC = [address for edges in V4 + V6 for address in edges.public]

# Each is a way to say an inner IPv4 address in IPv6; the second is what is inside.
TRANSITION = {
    "::ffff:127.0.0.1": "127.0.0.1",
    "::ffff:7f00:1": "127.0.0.1",
    "0:0:0:0:0:ffff:a9fe:a9fe": "169.254.169.254",
    "::ffff:0.0.0.0": "0.0.0.0",
    "::ffff:10.1.2.3": "10.1.2.3",
    "::127.0.0.1": "127.0.0.1",
    "::10.0.0.1": "10.0.0.1",
    "::ffff:0:127.0.0.1": "127.0.0.1",
    "64:ff9b::127.0.0.1": "127.0.0.1",
    "64:ff9b::a9fe:a9fe": "169.254.169.254",
    "64:ff9b::10.0.0.1": "10.0.0.1",
    "2002:7f00:1::": "127.0.0.1",
    "2002:7f00:1::1": "127.0.0.1",
    "2002:a9fe:a9fe:0:0:0:a9fe:a9fe": "169.254.169.254",
    "2002:c0a8:101::5": "192.168.1.1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "127.0.0.1",
    "2001::f5ff:fffe": "10.0.0.1",
}
ISATAP = {
    "2a00:1450::5efe:127.0.0.1": "127.0.0.1",
    "2a00:1450::5efe:a9fe:a9fe": "169.254.169.254",
    "2a00:1450::200:5efe:10.0.0.1": "10.0.0.1",
    "fe80::5efe:127.0.0.1": "127.0.0.1",
}

# Hosts that are 127.0.0.1 to one program or another.
LOOPBACK_NOTATIONS = (
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.1.", "2130706433", "2130706433.", "017700000001"),
    *("0x7f000001", "0X7F000001", "0x7f.1", "0x7F.0x0.0x0.0x1", "0177.0.0.1", "0177.1", "0177.0.0.01", "00177.0.0.1"),
    *("0x7f.0.0.1", "127.0.0.0x1", "127.0x1", "0000177.0.1", "127.0.0.001"),
    *("127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "127。1", "0177。0。0。1", "127.0.0.1。"),
)
OTHER_NOTATIONS = (
    *(
        "0",
        "0x0",
        "0x",
        "00",
        "0.0",
        "0.",
        "167772161",
        "10.1",
        "0xa.1",
        "012.1",
        "127.0.256",
        "192.168.257",
        "192.11010305",
    ),
    *("0xa9fea9fe", "2852039166", "169.254.43518", "0251.0376.0251.0376", "3232235777", "4294967295", "0xffffffff"),
)
# Neither a name nor an address, whatever a resolver makes of them.
NO_HOSTS = (
    *("256.0.0.1", "127.0.0.256", "127.0.65536", "127.256.1", "4294967296", "0x100000000", "99999999999999999999"),
    *(
        "1.2.3.4.5",
        "127.0.0.1.0",
        "08.0.0.1",
        "127.0.0.09",
        "127..1",
        "127.0.0..1",
        ".127.0.0.1",
        "127.0.0.1..",
        "1e3.4",
    ),
    *("0x7g.1", "127.0.0.1.0x", "hooks.example.1", "hooks.0x1", "0" * 70, "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127.0.0.١"),
    *("%31%32%37.0.0.1", "127%2e0%2e0%2e1", "127.0.0.1%00", "127.0.0.1%20", "hooks%2eexample", "hooks.example%00.com"),
    *("127.0.0.1%2f", "%6cocalhost", "127.0.0.1\\.hooks.example", "hooks.example\\", "hooks example", "a..example"),
    *(".hooks.example", "..", ".", "hooks.example..", "ho$oks.example", "hooks,example.com", "a" * 64 + ".example"),
    *("hooks.example;127.0.0.1", "{hooks}.example", "ab." * 90 + "example", "[127.0.0.1]", "[::1", "::1]", "::1", "[]"),
    *("[::1%25lo]", "[::1%lo]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::g]", "[1::2::3]", "[v1.fe80::a]", "[::1].x"),
    *(
        "xn--",
        "xn--a",
        "xn--ls8h\u0301.example",
        "-ｌｏｃａｌｈｏｓｔ",
        "ｌｏｃａｌｈｏｓｔ",
        "☃.example",
        "a\u00adb.example",
    ),
)
INNER_NAMES = (
    *("localhost", "LOCALHOST", "localhost.", "localhost。", "api.localhost", "a.b.localhost.", "Api.LocalHost"),
    *(
        "router",
        "router.",
        "db",
        "metadata",
        "printer.local",
        "printer.local.",
        "metadata.google.internal",
        "x.internal.",
    ),
    *("METADATA.GOOGLE.INTERNAL", "localhost.localdomain", "nas.home.arpa", "bücher"),
)
# Everything that is wrong with a URL beside its host.
FORMS = (
    *("", " ", "/", "//", "hooks.example", "//hooks.example/", "/hooks", "http:", "http:/", "http://", "http:///path"),
    *(
        "https://",
        "http://:{port}/",
        "http://?x",
        "http://#x",
        "http:hooks.example",
        "http:/127.0.0.1/",
        "://hooks.example",
    ),
    *("ftp://hooks.example/", "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x", "ws://127.0.0.1:{port}/"),
    *("dict://127.0.0.1:{port}/", "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun/", "data:text/plain,x"),
    *("javascript:alert(1)", "jar:http://127.0.0.1!/", " http://hooks.example/", "httpſ://hooks.example/"),
    *(
        "http://user@hooks.example/",
        "http://@hooks.example/",
        "http://:@hooks.example/",
        "http://user:key@hooks.example/",
        "http://:@hooks.example/",
        "http://:key@hooks.example",
    ),
    *(
        "http://hooks.example@127.0.0.1:{port}/",
        "http://hooks.example:80@127.0.0.1:{port}/",
        "http://a@b@127.0.0.1:{port}/",
    ),
    *(
        "http://hooks.example\\@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@hooks.example/",
        "http://1.1@127.1:{port}/",
    ),
    *("http://hooks.example:0/", "http://hooks.example:65536/", "http://hooks.example:-1/", "http://hooks.example:x/"),
    *(
        "http://hooks.example:80:80/",
        "http://hooks.example:99999999999/",
        "http://hooks.example:0x50/",
        "http://[::1]x/",
    ),
    *("http://hooks.example:" + "9" * 5_000 + "/", "http://127.0.0.1:{port}:80/"),
    *("http://[::1]@hooks.example/", "http://hooks.example:8_0/"),
    *("http://hooks.example:\u0668\u0660/", "http://\u2100.com/", "http://a[b]/", "http://[[::1]]/"),
    *(
        "http://hooks.example/\r\nHost: x",
        "http://hooks.example\t/",
        "ht\ntp://hooks.example/",
        "http://hooks.example/\x00",
    ),
    *(
        "http://hooks.example/\x7f",
        "http://hooks.example\u200b/",
        "http://hooks.example/\u202e",
        "http://hooks.example/\ud800",
    ),
    *("\thttp://127.0.0.1:{port}/", "http://127.0.0.1:{port}/\n", "http://127.0.0.1\u2028.hooks.example/"),
    "http://hooks.example/" + "a" * 8_192,
    "http://" + "a" * 70_000,
)


def url_of(address: str) -> str:
    return f"http://[{address}]:{{port}}/" if ":" in address else f"http://{address}:{{port}}/"


REFUSED = list(
    dict.fromkeys(
        [url_of(address) for address in (*DENIED, *TRANSITION, *ISATAP)]
        + [f"http://{host}:{{port}}/" for host in (*LOOPBACK_NOTATIONS, *OTHER_NOTATIONS, *NO_HOSTS, *INNER_NAMES)]
        + ["http://[::1]{port}/", "http://@127.0.0.1:{port}/", "HTTP://127.0.0.1:{port}", "hTTps://[::1]:{port}?x#y"]
        + list(FORMS)
    )
)

# Nothing is wrong with these until they are resolved.
GOOD = (
    *(
        "http://hooks.example/",
        "https://hooks.example",
        "https://hooks.example.:8443/a?b=c#d",
        "http://HOOKS.example:{port}",
    ),
    *("http://hooks.example:1/", "http://hooks.example:65535/", "http://hooks.example:/", "http://bücher.example/ü?ü"),
    *(
        "http://xn--bcher-kva.example/",
        "http://my_hooks.example-1.com/",
        "http://127.0.0.1.hooks.example/",
        "http://face.be",
    ),
    *("http://10.0.0.1.nip.example/", "http://1.1.1.1.example", "http://localhost.example/", "http://local.example/"),
    *("http://notlocal.examplelocal/", "http://0x7f.example/", "http://hooks。example/", "http://a.b/" + "x" * 8_180),
)
