"""How Spark's JVM is started: with the words of its own launcher, and with its classes read once for all."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.lake import archive, jvm
from engine.lake.archive import Archive
from tests.support.services import Services

pytestmark = pytest.mark.stack


@pytest.fixture
def kept(services: Services) -> Archive:
    return Archive(services.archives, services.java_home, services.spark_jars)


def java(services: Services, *words: str) -> subprocess.CompletedProcess[str]:
    """A JVM with Spark's class path that says its version and ends."""
    path = os.pathsep.join(map(str, archive.class_path(services.spark_jars)))
    command = [str(services.java_home / "bin" / "java"), *words, "-cp", path, "-version"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_archive_of_sparks_classes_fits_its_java_and_its_class_path(
    services: Services, kept: Archive
) -> None:
    assert kept.options()
    said = java(services, "-Xshare:on", *kept.options())  # takes it, or does not start
    assert said.returncode == 0, said.stdout + said.stderr


def test_an_archive_that_does_not_fit_is_passed_over_without_a_word(
    services: Services, kept: Archive, tmp_path: Path
) -> None:
    other = Archive(tmp_path, kept.java_home, kept.jars)
    shutil.copyfile(kept.path, other.path)
    with other.path.open("r+b") as file:
        file.truncate(kept.path.stat().st_size // 2)
    assert java(services, "-Xshare:on", *other.options()).returncode != 0
    said = java(services, *other.options())
    assert (said.returncode, said.stdout) == (0, "")


def test_spark_is_started_with_what_its_own_launcher_says(services: Services) -> None:
    home = archive.spark_home()
    launcher = ["-cp", str(home / "jars" / "*"), "org.apache.spark.launcher.Main"]
    said = subprocess.run(
        [
            services.java_home / "bin" / "java",
            *launcher,
            "org.apache.spark.deploy.SparkSubmit",
            "pyspark-shell",
        ],
        env={"PATH": os.environ["PATH"], "SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.13"},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = {
        word for word in said.stdout.split("\0") if word.startswith(("--add-opens=", "--enable-native", "-D"))
    }
    assert theirs == set(jvm.OPENS)
