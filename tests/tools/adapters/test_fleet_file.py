"""`fleet.toml` is read strictly, and each mistake is named with its place and what is right."""

import stat
from pathlib import Path

import pytest

from tools.adapters.fleet_file import programs, read_fleet, replica_names
from tools.kit.errors import Invalid

CAMPUS = Path(__file__).parents[3] / "evals" / "worlds" / "campus" / "fleet.toml"
HEAD = '[fleet]\ntitle = "Campus"\n'
CATALOG = HEAD + (
    '[[service]]\nname = "catalog"\ntitle = "Catalog"\nprogram = "campus.catalog"\n'
    'health_path = "/healthz"\n'
)


def write(folder: Path, text: str) -> Path:
    path = folder / "fleet.toml"
    path.write_text(text)
    return path


def test_campus_is_described_with_its_replicas_and_the_academys_own_processes(
    tmp_path: Path,
) -> None:
    fleet = read_fleet(CAMPUS, tmp_path, {"catalog-1": 9001, "front": 8400, "web-1": 9, "web-2": 8})

    kinds = {service.name: service.kind for service in fleet.services}
    assert kinds == {
        "catalog": "fleet",
        "player": "fleet",
        "worker": "fleet",
        "visitors": "fleet",
        "front": "academy",
        "web": "academy",
        "agents": "academy",
        "healer": "academy",
        "postgres": "academy",
    }
    catalog = fleet.service("catalog")
    assert catalog is not None
    assert [replica.url for replica in catalog.replicas] == ["http://127.0.0.1:9001", None]
    assert catalog.archivable == (tmp_path / "campus" / "catalog" / "exports",)
    assert catalog.data_limit_bytes == 64 * 1024 * 1024
    front, web = fleet.service("front"), fleet.service("web")
    assert front is not None
    assert web is not None
    assert (front.health_path, front.replicas[0].url) == ("/front/healthz", "http://127.0.0.1:8400")
    assert [replica.url for replica in web.replicas] == ["http://127.0.0.1:9", "http://127.0.0.1:8"]


def test_an_empty_fleet_has_only_the_academys_own_processes(tmp_path: Path) -> None:
    fleet = read_fleet(write(tmp_path, HEAD), tmp_path, {})

    assert {service.kind for service in fleet.services} == {"academy"}
    assert programs(tmp_path / "fleet.toml", tmp_path, {}, database_url="x") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fleet\n", "not valid TOML: .*line 1"),
        ("", "`fleet` is missing"),
        (HEAD + "colour = 1\n", "`fleet.colour` is not a known key; the known ones: title"),
        (HEAD + "[services]\n", "`services` is not a known key; the known ones: fleet, service"),
        (CATALOG + 'colour = "red"\n', r"line 8: `service.0.colour` is not a known key.*replicas"),
        (CATALOG + 'replicas = "2"\n', "line 8: `service.0.replicas` is '2'.*valid integer"),
        (CATALOG + "replicas = 0\n", "line 8: .*greater than or equal to 1"),
        (CATALOG + 'depends_on = ["shop"]\n', "line 8: `shop` is not a service; .*`catalog`"),
        (CATALOG + 'depends_on = ["catalog"]\n', "line 8: `catalog` can't depend on itself"),
        (CATALOG + "minimum_healthy = 2\n", "line 8: it has 1 replicas"),
        (CATALOG + 'archivable = ["x"]\n', "need a `data_folder`"),
        (CATALOG + 'data_folder = "../x"\n', "line 8: `../x` must be a relative path"),
        (CATALOG + 'data_folder = "/var"\n', "line 8: `/var` must be a relative path"),
        (CATALOG + "http = false\n", "line 7: only a service with `http = true` has one"),
        (CATALOG + CATALOG[len(HEAD) :], "line 9: the name `catalog` is used twice"),
        (CATALOG.replace("catalog", "healer"), "line 4: .*the academy's own names"),
        (CATALOG.replace('name = "catalog"', 'name = "Cat alog"'), "line 4: .*doesn't match"),
        (
            CATALOG.replace("[[service]]", '[[service]]\n"replicas" = 1.5'),
            "line 4: `service.0.replicas` is 1.5",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_right(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, text)

    with pytest.raises(Invalid, match=message) as raised:
        read_fleet(path, tmp_path, {})

    assert str(path) in raised.value.message


def test_a_file_that_is_missing_or_not_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="does not exist"):
        read_fleet(tmp_path / "none.toml", tmp_path, {})
    (tmp_path / "fleet.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid, match="can't be read"):
        read_fleet(tmp_path / "fleet.toml", tmp_path, {})


def test_programs_carry_their_arguments_and_hide_the_password(tmp_path: Path) -> None:
    names = replica_names(CAMPUS, with_port=True)
    ports = {name: 9000 + number for number, name in enumerate(names)}

    found = programs(CAMPUS, tmp_path, ports, database_url="postgresql://postgres:secret@/x")

    assert [program.name for program in found] == replica_names(CAMPUS)
    first = found[0].argv
    assert first[1:4] == ("-P", "-m", "evals.worlds.campus.catalog")
    assert first[first.index("--port") + 1] == str(ports["catalog-1"])
    assert not any("secret" in argument for program in found for argument in program.argv)
    kept = Path(first[first.index("--database-file") + 1])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().strip() == "postgresql://postgres:secret@/x"
    assert "--port" not in found[-1].argv
    assert (tmp_path / "campus" / "player" / "exports").is_dir()


def test_a_replica_without_an_allocated_port_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"No port was allocated for catalog-1, .*worker-1"):
        programs(CAMPUS, tmp_path, {}, database_url="x")
