"""The heap of the collection is frozen in workers (frozen.py): what a suite sees of it through the module gc is what it sees in plain pytest."""
import json

import pytest

# Each test passes in plain pytest; `tell` keeps what must be the same in both.
HEAP = dict(conftest='''
    import gc, json, os
    import pytest
    pytest_plugins = ["way"]
    THRESHOLD = gc.get_threshold()
    TOLD = {}
    @pytest.fixture
    def tell(request): return lambda *what: TOLD.setdefault(request.node.name, what)
    @pytest.fixture(scope="session", autouse=True)
    def keep():
        yield
        with open(os.environ["TOLD"], "w") as f:
            json.dump(TOLD, f)
    ''', test_heap='''
    import functools, gc, sys, types, weakref
    from gc import get_objects, get_referrers
    import pytest
    from conftest import THRESHOLD

    class A(object): pass
    class B(A):
        def __init__(self, held=None): self.held = held
    class Slot(object): __slots__ = "held"

    IMPORTED = A()
    HOLDER = [IMPORTED]
    CYCLES = []
    for n in range(3):
        a = A()
        a.itself = a
        CYCLES.append(a)
    del a
    FUNCTIONS = [gc.get_referrers, get_referrers, functools.partial(gc.get_referrers), lambda *objs: gc.get_referrers(*objs)]

    def kinds(objs): return sorted(type(o).__name__ for o in objs)

    def test_a_list():
        a = A()
        b = [a]
        assert gc.get_referrers(a) == [b]

    def test_nobody():
        a = A()
        assert gc.get_referrers(a) == []
        assert gc.get_referrers() == []

    @pytest.mark.parametrize("n", range(len(FUNCTIONS)))
    def test_each_kind_of_container(n, tell):
        call = FUNCTIONS[n]
        a, c = A(), A()
        slot = Slot()
        slot.held = a
        holders = [[a], (a, [1]), {1: a}, {a, "set"}, slot, (lambda: a).__closure__[0]]
        tell(kinds(call(a)), kinds(call(a, c)), kinds(call(c, c, slot)), kinds(call(*holders[:2])))

    def test_of_an_exception(tell):
        """As checks for cycles do it: nothing may hold it but its variable."""
        def fail():
            try:
                raise ValueError()
            except ValueError as e:
                return e.with_traceback(None)
        exc = fail()
        assert gc.get_referrers(exc) == []
        try:
            raise exc
        except ValueError as caught:
            tell(kinds(gc.get_referrers(caught)))

    def test_in_a_generator(tell):
        def generator():
            a = A()
            b = [a]
            yield
            yield kinds(gc.get_referrers(a))
        told = list(generator())
        tell(told)

    def test_in_a_coroutine(tell):
        async def coroutine():
            a = A()
            b = [a]
            return kinds(gc.get_referrers(a)), kinds(gc.get_referrers(*b))
        with pytest.raises(StopIteration) as stop:
            coroutine().send(None)
        tell(stop.value.value)

    def test_what_was_imported(tell):
        found = gc.get_referrers(IMPORTED)
        assert {id(o) for o in found} == {id(HOLDER), id(globals())}
        tell(kinds(gc.get_referrers(A)), kinds(gc.get_referrers(HOLDER)))

    def test_reference_counts(tell):
        a = A()
        count, imported = sys.getrefcount(a), sys.getrefcount(IMPORTED)
        for _ in range(20):
            found = gc.get_referrers(a, IMPORTED)
            objs = gc.get_objects()
            gc.collect()
        del found, objs
        assert (sys.getrefcount(a), sys.getrefcount(IMPORTED)) == (count, imported)
        tell(count, imported)

    def test_objects():
        young = A()
        for call in (gc.get_objects, get_objects):
            objs = call()
            assert sum(o is HOLDER for o in objs) == sum(o is young for o in objs) == 1
            assert not any(o is objs for o in objs)
        del objs

    def test_objects_between_two_calls(tell):
        gc.collect()
        gc.disable()
        try:
            first = gc.get_objects()
            known = set(map(id, first))
            second = gc.get_objects()
            tell(kinds(o for o in second if id(o) not in known))
        finally:
            gc.enable()

    def test_generations():
        young = A()
        gc.collect()
        new = A()
        assert any(o is HOLDER for o in gc.get_objects(generation=2)) and any(o is young for o in gc.get_objects(2))
        assert not any(o is HOLDER or o is young for o in gc.get_objects(0) + gc.get_objects(generation=1))
        assert any(o is new for o in gc.get_objects(None))
        with pytest.raises(TypeError): gc.get_objects("0")
        with pytest.raises(ValueError): gc.collect(7)

    @pytest.mark.parametrize("between", [lambda a: None, gc.get_referrers, lambda a: gc.get_objects(), lambda a: gc.collect()],
                             ids=["nothing", "referrers", "objects", "collect"])
    @pytest.mark.parametrize("generation", [(), (0,), (1,), (2,)], ids=str)
    def test_a_cycle_of_the_test(between, generation):
        gc.collect()
        gone = []
        a = A()
        a.itself = a
        weakref.finalize(a, gone.append, "finalized")
        alive = weakref.ref(a, gone.append)
        between(a)
        assert alive() is a
        del a
        if between is not FUNCTIONS and generation in ((), (2,)):
            gc.collect(*generation)
            assert alive() is None and len(gone) == 2

    @pytest.fixture(scope="module")
    def held():
        a = A()
        a.itself = a
        return [a]

    @pytest.mark.parametrize("n", range(3))
    def test_a_cycle_of_a_fixture(held, n):
        gc.get_objects()
        if n == 2:
            alive = weakref.ref(held.pop())
            gc.collect()
            assert alive() is None

    @pytest.mark.parametrize("n", range(3))
    def test_a_cycle_of_the_import(n):
        gone = weakref.ref(CYCLES.pop())
        gc.collect()
        assert gone() is None

    def test_settings(tell):
        tell(THRESHOLD, gc.get_threshold(), gc.isenabled(), len(gc.callbacks), gc.get_debug(), gc.garbage, len(gc.get_stats()))
        assert THRESHOLD == gc.get_threshold()

    def test_callbacks():
        seen = []
        def callback(phase, info): seen.append((phase, info["generation"]))
        gc.callbacks.append(callback)
        try:
            gc.get_referrers(seen), gc.get_objects()
            del seen[:]
            gc.collect()
        finally:
            gc.callbacks.remove(callback)
        assert seen == [("start", 2), ("stop", 2)]

    def test_found(tell):
        gc.collect()
        a = A()
        a.itself = a
        del a
        assert gc.collect() in (1, 2)  # with its dict
        assert gc.collect() == 0

    def test_saved_garbage():
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            a = A()
            a.itself = a
            del a
            gc.collect()
            assert sum(isinstance(o, A) for o in gc.garbage) == 1
        finally:
            gc.set_debug(0)
            del gc.garbage[:]

    def test_freezing():
        count = gc.get_freeze_count()
        gc.freeze()
        assert gc.get_freeze_count() > count
        gc.unfreeze()
        assert gc.get_freeze_count() == 0
        assert gc.get_referrers(IMPORTED) and gc.collect() >= 0 and gc.get_objects()
        assert gc.get_freeze_count() < 1000  # CPython 3.12 freezes some immortal objects itself
    ''')

WAYS = {"collected": [], "warm": [], "fresh": ["--no-fork"]}
WARM = "def pytest_sessionfinish(session): pass\n"  # a reason to start workers before the collection


@pytest.fixture(params=WAYS)
def options(request, project):
    """The conftest of the project imports the module `way`."""
    project.write(way=WARM if request.param == "warm" else "")
    return WAYS[request.param] + ["-n1"]


@pytest.fixture
def told(project, tmp_path):
    """What the tests of HEAP told in a run of `how`."""
    def run(how, *args):
        path = tmp_path / "told.json"
        result = how(*args, env=dict(TOLD=str(path)))
        assert result.rc == 0 and set(result.summary) == {"passed"}, result
        return json.loads(path.read_text())
    return run


def test_what_a_suite_sees_of_the_heap(project, told, options):
    project.write(**HEAP)
    plain = told(project.plain)
    assert len(plain) > 8
    assert told(project.run, *options) == plain
    for name in ("test_a_list", "test_a_cycle_of_the_import", "test_what_was_imported", "test_objects"):  # each the first to call
        xd = project.run(*(options + ["-k", name]), env=dict(TOLD=str(project.path / "not")))
        assert xd.rc == 0, xd


LARGE = '''
    import gc, weakref
    PADDING = [[] for _ in range(150000)]
    LEFT = []
    class A(object): pass
    def cycle():
        a = A()
        a.itself = a
        return a
    def left():
        """What the collection left frozen; the first call must come before all others."""
        if not LEFT:
            LEFT.append(gc.get_freeze_count())
        return LEFT[0]
    def is_near(count): return 0.7 * left() < count <= 1.25 * left()
    '''


def test_a_large_heap_stays_frozen(project, options):
    """However often the suite calls: what it calls sees what it must."""
    project.write(large=LARGE, conftest="pytest_plugins = ['way']", test_a='''
        import gc, weakref
        import pytest
        from large import A, PADDING, cycle, is_near, left
        IMPORTED = [cycle()]
        def test_first(): assert left() > 150000 and is_near(gc.get_freeze_count())
        @pytest.mark.parametrize("n", range(30))
        def test_collect(n):
            gone = weakref.ref(cycle())
            for _ in range(3):
                gc.collect()
            assert gone() is None and is_near(gc.get_freeze_count())
        def test_referrers():
            for _ in range(12):
                assert any(o is globals() for o in gc.get_referrers(IMPORTED))
                assert is_near(gc.get_freeze_count())
        def test_objects():
            for _ in range(12):
                assert any(o is PADDING for o in gc.get_objects())
                assert is_near(gc.get_freeze_count())
        def test_collect_after_them():
            a = cycle()
            gc.get_objects()
            gone = weakref.ref(a)
            del a
            gc.collect()
            assert gone() is None and is_near(gc.get_freeze_count())
        ''')
    xd = project.run(*options)
    assert xd.rc == 0 and xd.summary == {"passed": 34}, xd


def test_what_a_large_heap_costs(project):
    """A cycle of the import that a test drops is not freed: gc.collect() does not look at it, except the first time.  Unless objects of tests are among
    the frozen ones; these are told from the rest as soon as the fixtures of their module are gone."""
    indicator = '''
        import gc, weakref
        from large import cycle
        IMPORTED = [cycle(), cycle()]
        def dropped():
            gone = weakref.ref(IMPORTED.pop())
            gc.collect()
            return gone() is None
        '''
    project.write(large=LARGE, test_a=indicator + '''
        def test_first(): assert dropped()
        def test_in_the_same_module(): assert dropped()
        ''', test_b=indicator + '''
        def test_not_seen(): assert not dropped()
        def test_seen():
            gc.get_objects()
            assert dropped()
        ''', test_c=indicator + '''
        def test_not_seen(): assert not dropped()
        def test_thawed_by_the_suite():
            gc.unfreeze()
            assert dropped()
        ''')
    xd = project.run("-n1", "-p", "no:randomly")
    assert xd.rc == 0 and xd.summary == {"passed": 6}, xd


def test_what_imports_leave_in_a_large_heap(project, options):
    """Classes that a decorator made anew, as attrs does for slots: the original is garbage, and __subclasses__() shows it until somebody collects."""
    project.write(large=LARGE, conftest="pytest_plugins = ['way']", test_a='''
        import gc
        import large
        import pytest
        class Base(object): pass
        def made_anew(cls): return type(cls.__name__, cls.__bases__, {})
        @made_anew
        class Child(Base): pass
        @pytest.mark.parametrize("n", range(8))
        def test_subclasses(n):
            gc.collect()
            assert Base.__subclasses__() == [Child]
        def test_referrers():
            assert sum(c.__name__ == "Child" for c in gc.get_referrers(Base) if isinstance(c, type)) <= 1
        ''')
    xd = project.run(*options)
    assert xd.rc == 0 and xd.summary == {"passed": 9}, xd


def test_a_heap_that_grows(project):
    """It stays thawed while tests hold a quarter more than the collection left, and is frozen again when they have let go."""
    project.write(large=LARGE, test_a='''
        import gc
        import pytest
        from large import is_near, left
        def test_first(): assert is_near(gc.get_freeze_count())
        @pytest.fixture(scope="class")
        def more():
            return [[] for _ in range(left() // 2)]
        class TestMore:
            def test_frozen(self, more): assert is_near(gc.get_freeze_count())
            @pytest.mark.parametrize("call", [gc.get_objects, lambda: gc.get_referrers(gc), gc.collect, gc.get_objects])
            def test_thawed(self, more, call):
                assert call() is not None
                assert gc.get_freeze_count() < 1000 or call is gc.collect
        @pytest.mark.parametrize("n", range(20))
        def test_it_takes_its_time(n): pass
        def test_frozen_again(): assert is_near(gc.get_freeze_count())
        ''')
    xd = project.run("-n1")
    assert xd.rc == 0 and xd.summary == {"passed": 27}, xd
