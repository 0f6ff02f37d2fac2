"""How well likes that were held out are recommended: by popularity, by embeddings, and by the model that chooses.

Of each user the newest likes but some are told, and dislikes where there are any; what is right is one of those held
out. The data are MovieLens 100K (GroupLens, for research, not to be passed on), as the package recbole 1.2.1 carries it
in recbole/dataset_example/ml-100k: films with their titles and genres, likes being 4 stars and more, dislikes 2 and fewer, and
the newest fifth of a user's likes held out. Without --data they are generated, by a model of tastes that says what it
is: see `generated`. It knows texts and so favours embeddings, and is no evidence for anything but that the code works.

    python tests/bench/recommend.py [--data FOLDER] [--users 200] [--model-users 100] [key=value ...]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import vllm_flow
from vllm_flow import Context, Turn, user
from vllm_flow.core.catalogue import Catalogue
from vllm_flow.core.embedding import Embedder
from vllm_flow.embedders import Sentences
from vllm_flow.evaluation.statistics.comparing import compare
from vllm_flow.sources import JsonLines
from vllm_flow.stages import Candidates

TOP = 10
TOLD, TOLD_NOT = 20, 8
"""So many likes and dislikes of a user are told: the newest. A conversation remembers 32 facts."""
NO_WISH = "What should I watch next?"
WAYS = {
    "popularity": Candidates(most=TOP, popularity=1.0),
    "embeddings": Candidates(most=TOP),
    "embeddings, said 0": Candidates(most=TOP, said=0.0),
    "embeddings, diversity 0.3": Candidates(most=TOP, diversity=0.3),
    "embeddings, popularity 0.3": Candidates(most=TOP, popularity=0.3),
}
BASELINE = "embeddings"
SYSTEM = "You recommend films, only from the list that is given. Choose what fits best what the user likes."


@dataclass(frozen=True)
class Person:
    liked: tuple[str, ...]
    disliked: tuple[str, ...]
    held_out: tuple[str, ...]
    wish: str
    """Of what kind one of those is that were held out."""

    def turn(self, name: str, wishes: bool) -> Turn:
        remember = dict.fromkeys(self.liked, "liked") | dict.fromkeys(self.disliked, "disliked")
        return Turn(name, user(f"I would like to watch this: {self.wish}." if wishes else NO_WISH), remember=remember)


def movielens(folder: Path, number: int, seed: int) -> tuple[list[dict[str, Any]], list[Person]]:
    rated: dict[str, list[tuple[float, str, float]]] = {}
    for line in (folder / "ml-100k.inter").read_text("utf-8").splitlines()[1:]:
        who, film, stars, when = line.split("\t")
        rated.setdefault(who, []).append((float(when), film, float(stars)))
    told, people = Counter[str](), list[Person]()
    rows = [line.split("\t") for line in (folder / "ml-100k.item").read_text("utf-8").splitlines()[1:]]
    genres = {one: kinds.replace(" ", ", ") for one, _, _, kinds in rows}
    for who in sorted(rated, key=int):
        likes = [film for _, film, stars in sorted(rated[who]) if stars >= 4]
        known = likes[: len(likes) * 4 // 5]
        told.update(known)
        dislikes = [film for when, film, stars in sorted(rated[who]) if stars <= 2]
        if len(likes) >= 20:
            held = tuple(likes[len(known) :])
            people.append(Person(tuple(known[-TOLD:]), tuple(dislikes[-TOLD_NOT:]), held, genres[held[0]]))
    films = [
        {"id": one, "title": title, "text": f"{genres[one]} ({year})", "popularity": told[one]}
        for one, title, year, _ in rows
    ]
    return films, some(people, number, seed)


def generated(number: int, seed: int) -> tuple[list[dict[str, Any]], list[Person]]:
    """600 films of two of 24 subjects and one of 6 moods; how known each is falls as 1 / rank.

    A person likes four subjects and two moods by weights from an exponential distribution. How much they like a film is the
    sum of its weights, plus the log of how known it is, plus Gumbel noise; the 30 best are their likes, of which 20 drawn
    ones are told, and the 8 worst of 60 drawn ones their dislikes.
    """
    noise = numpy.random.default_rng(seed)
    subjects = [
        "war",
        "pirates",
        "vampires",
        "cooking",
        "space travel",
        "a court case",
        "horses",
        "mountains",
        "a bank robbery",
        "jazz",
        "ghosts",
        "football",
        "dinosaurs",
        "a wedding",
        "spies",
        "robots",
        "chess",
        "the sea",
        "kings",
        "school",
        "detectives",
        "magic",
        "farming",
        "trains",
    ]
    moods = ("funny", "sad", "frightening", "romantic", "slow", "exciting")
    of = [(*noise.choice(len(subjects), 2, replace=False), noise.integers(len(moods))) for _ in range(600)]
    known = 1 / (1 + noise.permutation(600))
    films = [
        {
            "id": f"f{place}",
            "title": f"Film {place}",
            "text": f"A {moods[c]} film about {subjects[a]} and {subjects[b]}",
        }
        for place, (a, b, c) in enumerate(of)
    ]
    people = []
    for _ in range(number):
        for_subject, for_mood = numpy.zeros(len(subjects)), numpy.zeros(len(moods))
        for_subject[noise.choice(len(subjects), 4, replace=False)] = noise.exponential(4, 4)
        for_mood[noise.choice(len(moods), 2, replace=False)] = noise.exponential(2, 2)
        worth = numpy.array([for_subject[a] + for_subject[b] + for_mood[c] for a, b, c in of])
        worth += numpy.log(known) + noise.gumbel(size=600)
        likes, drawn = noise.permutation(numpy.argsort(-worth)[:30]), noise.choice(600, 60, replace=False)
        dislikes = [one for one in drawn[numpy.argsort(worth[drawn])][:TOLD_NOT] if one not in likes]
        names = [tuple(f"f{one}" for one in some) for some in (likes[:TOLD], dislikes, likes[TOLD:])]
        people.append(Person(names[0], names[1], names[2], films[likes[TOLD]]["text"]))
    liked = Counter(one for person in people for one in person.liked)
    return [{**film, "popularity": liked[film["id"]]} for film in films], people


def some(people: Sequence[Person], number: int, seed: int) -> list[Person]:
    drawn = numpy.random.default_rng(seed).choice(len(people), min(number, len(people)), replace=False)
    return [people[one] for one in sorted(drawn)]


def marks(found: Sequence[str], person: Person) -> tuple[float, float]:
    """Whether any of the ten was held out (hit rate), and NDCG, as if each of those were worth the same."""
    gains = [(one in person.held_out) / math.log2(place + 2) for place, one in enumerate(found[:TOP])]
    ideal = sum(1 / math.log2(place + 2) for place in range(min(TOP, len(person.held_out))))
    return float(any(gains)), sum(gains) / ideal


async def by_stage(
    way: Candidates, catalogue: Catalogue, embedder: Embedder, people: Sequence[Person], wishes: bool
) -> list[list[str]]:
    """What the stage finds for each, in order."""
    found = []
    for place, person in enumerate(people):
        turn = person.turn(str(place), wishes)
        rows = [{"key": name, "value": how, "turn": 1, "told": True} for name, how in turn.remember.items()]
        segment = await way.run(turn, catalogue, embedder, context=Context(state={"memory": {"known": rows}}))
        found.append([one.source for one in segment.items])
    return found


def by_model(path: Path, people: Sequence[Person], wishes: bool, overrides: Sequence[str]) -> list[list[str]]:
    """What the pipeline recommends to each: ten of the twenty nearest, chosen one after the other."""
    options = [
        "concurrency=16",  # so few that their prompts are still remembered when the next place is asked for
        f"graph.catalogue.path={path}", f"graph.catalogue.roots=[{path.parent}]", "graph.candidates.most=20",
        f"graph.reply.most={TOP}", "graph.reply.why=null",
        "graph.catalogue.text='{title}: {text}'", f"graph.prompt.system='{SYSTEM}'",
    ]  # fmt: skip
    turns = [person.turn(str(place), wishes) for place, person in enumerate(people)]
    with vllm_flow.load("recommend", [*options, *overrides], record=False) as session:
        results = {one.turn.conversation: one.value.data["recommended"] for one in session.run(turns)}
    return [[one["id"] for one in results[str(place)]] for place in range(len(people))]


def told(title: str, ways: dict[str, list[list[str]]], people: Sequence[Person]) -> None:
    print(
        f"\n{title}: {len(people)} people, {sum(len(one.held_out) for one in people) / len(people):.1f} likes held out of each"
    )
    scores = numpy.array(
        [[marks(found, person) for found, person in zip(lists, people, strict=True)] for lists in ways.values()]
    )
    for column, metric in enumerate((f"hit rate@{TOP}", f"NDCG@{TOP}")):
        result = compare(scores[:, :, column : column + 1], baseline=list(ways).index(BASELINE))
        print(metric)
        against = {one.point: one for one in result.comparisons}
        for one, name in zip(result.points, ways, strict=True):
            line = f"  {name:28} {one.mean:.3f} {span(one.interval)}"
            if (other := against.get(one.point)) is not None:
                line += f"  against {BASELINE} {other.difference:+.3f} {span(other.interval)} {other.verdict}"
            print(line)


def span(interval: Any) -> str:
    return "" if interval is None else f"[{interval.low:.3f}, {interval.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--model-users", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given, overrides = parser.parse_known_args()
    films, people = movielens(given.data, given.users, given.seed) if given.data else generated(given.users, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "films.jsonl"
        path.write_text("\n".join(map(json.dumps, films)), "utf-8")
        catalogue = JsonLines(str(path), roots=(folder,)).run()
        print(f"{len(films)} films, {'MovieLens 100K' if given.data else 'generated'}, seed {given.seed}")
        embedder = Sentences(package="minilm").open()
        for wishes, what in ((False, f"“{NO_WISH}”"), (True, "wishing for a kind of film")):
            ways = {name: asyncio.run(by_stage(way, catalogue, embedder, people, wishes)) for name, way in WAYS.items()}
            told(what, ways, people)
            if fewer := people[: given.model_users]:
                start = time.perf_counter()
                chosen = by_model(path, fewer, wishes, overrides)
                few = {name: ways[name][: len(fewer)] for name in ("popularity", BASELINE)}
                told(f"{what}, chosen by the model from 20", {**few, "the model chooses": chosen}, fewer)
                print(f"  choosing took {time.perf_counter() - start:.0f} s, loading included")
        embedder.close()


if __name__ == "__main__":
    main()
