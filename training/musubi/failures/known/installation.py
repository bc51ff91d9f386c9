"""Failures of the packages and programs that musubi-tuner needs, such as torch or a compiler."""

from dataclasses import replace

from training.musubi.failures.known.entry import INSTALLATION, KnownFailure

_COMPILER = KnownFailure(
    "compiler-missing",
    r"working triton installation|[Tt]ritonMissing|No module named 'triton|libtriton"
    r"|[Ff]ailed to find C compiler|Compiler: \S+ is not found|working C\+\+ compiler"
    r"|InvalidCxxCompiler|CppCompileError|C\+\+ compile error|Python\.h"
    r"|command '?\S*(gcc|cc|cl\.exe|nvcc)'? failed"
    r"|No such file or directory: '\S*?(gcc|cc|g\+\+|cl|clang|ptxas|nvcc|ldconfig|ninja)'"
    r"|Error compiling objects for extension|cannot find -l(cuda|python)"
    r"|Visual C\+\+ 14|CUDA_HOME environment variable is not set"
    r"|nvcc.*(not found|No such file)|libcuda\.so cannot found|[Nn]inja is required"
    r"|CalledProcessError: Command '?\[?'[^']*?(gcc|g\+\+|cc|clang\+*|cl|tcc|nvcc|ptxas|ld)"
    r"(\.exe)?'|'cl' is not recognized|ptxas.*not found",
    "Compiling the model needs Triton and a C compiler, and one of them is missing.",
    "Install both in musubi-tuner's environment (gcc and Python's headers; on Windows "
    "triton-windows), or train without compilation; then resume the run.",
)
_TOKENIZER_FILE = KnownFailure(
    "tokenizer-file",
    r"[Cc]an't load (the )?(tokenizer|configuration|config)|Unable to load vocabulary"
    r"|could not parse ModelProto|expected value at line 1 column 1"
    r"|does not appear to have a file named|stream did not contain valid UTF-8"
    r"|^TypeError: not a string$|Unrecognized model in",
    "The tokenizer's files are missing or damaged on this machine: {line}",
    "Remove the tokenizer's folder from Hugging Face's cache, and a local folder of the same "
    "name; then resume the run, which downloads it again.",
)

INSTALLATION_FAILURES = (
    KnownFailure(
        "python-too-old",
        r"unsupported operand type\(s\) for \|: '(type|NoneType|\w*Meta|\w*GenericAlias)'"
        r"|requires a different Python|'(type|ABCMeta)' object is not subscriptable"
        r"|cannot import name '\w+' from '(typing|enum|types|datetime|functools)'"
        r"|No module named 'tomllib'",
        "The Python that runs the trainer is too old: {line}",
        "Create musubi-tuner's environment with Python 3.10 or newer, then resume the run.",
    ),
    KnownFailure(
        "system-too-old",
        r"(GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found",
        "The machine's system libraries are older than a package needs: {line}",
        "Use a newer system or container image, or a package built for this one; then resume the "
        "run.",
    ),
    KnownFailure(
        "libraries-twice",
        r"OMP: Error #15|libiomp5\S* already initialized",
        "Two packages each loaded their own OpenMP library.",
        "Set KMP_DUPLICATE_LIB_OK=TRUE, or install numpy and torch from one source (all with pip); "
        "then resume the run.",
    ),
    KnownFailure(
        "compile-sizes",
        r"RecompileLimit|recompile_limit|cache_size_limit",
        "The model was compiled for too many different sizes of clips.",
        "Train without compilation, use clips of fewer sizes, or raise the limit "
        "(--compile_cache_size_limit).",
        resumable=False,
    ),
    _COMPILER,
    replace(
        _COMPILER,
        pattern=r"FileNotFoundError|WinError 2\]",
        within=r"triton|_inductor|cpp_extension",
    ),
    KnownFailure(
        "compile-failed",
        r"torch\._(dynamo|inductor)\S*(: |\.exc)|InductorError|BackendCompilerFailed"
        r"|backend='inductor' raised",
        "torch could not compile the model: {line}",
        "Train without compilation. If this program turned compilation on, report this as a bug, "
        "with the run's log.",
        resumable=False,
    ),
    KnownFailure(
        "bitsandbytes-missing",
        r"No bitsandbytes|No module named 'bitsandbytes'"
        r"|No package metadata was found for bitsandbytes",
        "The optimizer adamw8bit needs the package bitsandbytes, which is not installed.",
        "Install bitsandbytes in musubi-tuner's environment, or use the optimizer adamw.",
    ),
    KnownFailure(
        "bitsandbytes-broken",
        r"CUDA S(etup|ETUP)|libbitsandbytes|'NoneType' object has no attribute 'c\w*(adam|quant)"
        r"|(undefined symbol|has no attribute '?)\W*c(adam|quantize|lion|ademamix)\w*"
        r"|bitsandbytes native library|module 'bitsandbytes\S*' has no|CUDA binary not found"
        r"|name 'str2optimizer\w+' is not defined"
        r"|bitsandbytes\S* was compiled without GPU|cget_managed_ptr|8-?bit optimizer is not avail",
        "The package bitsandbytes does not work with the installed CUDA.",
        "Reinstall bitsandbytes for the CUDA of torch in musubi-tuner's environment, or use the "
        "optimizer adamw; then resume the run.",
    ),
    KnownFailure(
        "tokenizer-packages",
        r"requires the (SentencePiece|protobuf|tiktoken)"
        r"|[Ss]entence[Pp]iece.{0,60}(not found|required|install)|instantiate the backend tokenizer"
        r"|variant of untagged enum"
        r"|Descriptors cannot be created directly|tokenizers\S* is required for a normal"
        r"|No module named '(sentencepiece|tiktoken|tokenizers|google)|'protobuf'.*install",
        "The tokenizer cannot be built: a package such as sentencepiece is missing, or this "
        "version of tokenizers or transformers cannot read the tokenizer's file.",
        "Install sentencepiece and protobuf, and the versions of transformers and tokenizers that "
        "musubi-tuner pins; then resume the run.",
    ),
    _TOKENIZER_FILE,
    replace(
        _TOKENIZER_FILE,
        pattern=r"TypeError: (stat|expected str).*NoneType|JSONDecodeError"
        r"|OSError: Not found",
        within=r"tokeni[sz]|sentencepiece",
    ),
    KnownFailure(
        "library-not-installed",
        r"(OSError|ImportError): (?P<library>lib(?!cu|nv|torch|c10)[\w.+-]+)"
        r"(: cannot open shared object| not found)"
        r"|(?P<library2>lib(GL|gthread|glib|SM|Xext)[\w.+-]*): cannot open",
        "The system library {library} is missing.",
        "Ask the operator to install the library (libGL and libgthread: the Debian packages libgl1 "
        "and libglib2.0-0), then resume the run.",
    ),
    KnownFailure(
        "packages-mismatch",
        r"torchvision::nms does not exist|undefined symbol"
        r"|status 0xC0000139|DLL load failed.*procedure could not be found|WinError (127|182)\]"
        r"|NumPy C-API version|numpy\.core\.multiarray|NumPy 1\.x"
        r"|numpy\.dtype size changed|_ARRAY_API not found"
        r"|cannot import name '|PackageNotFoundError|No package metadata"
        r"|is required for a normal functioning|cuDNN version incompatibility"
        r"|load library libcu\w+|Unable to load any of \{lib|xFormers can't load"
        r"|module '(torch|numpy|transformers|diffusers)\S*' has no attribute '(?!_?cuda|optim)"
        r"|lib(cu|nv|torch|c10)\w*[\w.]*: cannot open|Numpy is not available"
        r"|Failed to import transformers|'\w*Tokenizer\w*' object has no attribute"
        r"|Unsupported float8 type|binary incompatibility"
        r"|requires (torch|numpy|transformers)\S*[<>=]|'Namespace' object has no attribute"
        r"|detected CUDA version \(\S+\) mismatches"
        r"|(\.__init__|from_pretrained|dot_product_attention)\(\) got an unexpected keyword arg",
        "The packages in musubi-tuner's environment are incompatible with each other: {line}",
        INSTALLATION,
    ),
    KnownFailure(
        "package-missing",
        r"(No module named '?|ImportError: No (?!module)|PackageNotFoundError: )"
        r"(?P<package>[\w.-]+)"
        r"|'(?P<package2>hf_transfer|hf_xet|peft|einops|ftfy|av)' (package )?is not "
        r"(available|installed)|requires the (?P<package3>\w+) library",
        "The Python package {package} is missing from musubi-tuner's environment.",
        INSTALLATION,
    ),
    KnownFailure(
        "script-line-ends",
        r"\^M: bad interpreter|\\r['\u2019]: (No such file|command not found)|\$'\w*\\r'",
        "A script has Windows line endings, which the shell cannot run.",
        "Convert the script (dos2unix, or sed -i 's/\\r$//' SCRIPT), then start it again.",
    ),
    KnownFailure(
        "environment-moved",
        r"Fatal error in launcher|bad interpreter|Unable to create process using|^No Python at",
        "The Python that this environment was made with is no longer there: {line}",
        "Create the environment again in its new folder; an environment cannot be moved.",
    ),
    KnownFailure(
        "container-program",
        r"Cannot connect to the Docker daemon|permission denied while trying to connect to the "
        r"Docker",
        "Docker is not running on this machine, or this user is not allowed to use it.",
        "Start Docker, or add the user to the group docker; then start the container again.",
    ),
    KnownFailure(
        "package-install",
        r"No matching distribution found|Could not find a version that satisfies"
        r"|externally-managed-environment|Could not install packages|Failed building wheel"
        r"|metadata-generation-failed|subprocess-exited-with-error|ResolutionImpossible",
        "A package could not be installed: {line}",
        "Use the Python and package versions that musubi-tuner names, in a separate environment.",
    ),
    KnownFailure(
        "command-path",
        r"The system cannot find the (path|file|drive) specified\.$",
        "The command names a folder or file that does not exist.",
        "Correct the paths in the command, or run it from musubi-tuner's folder.",
        within=r"\A\Z",
    ),
    KnownFailure(
        "program-missing",
        r"can't open file '(?P<file>[^'\n]+)'|(?<!\S)(?P<file2>[\w./-]{1,99}): (command )?not found"
        r"|['\"](?P<file3>[^'\"\n]+)['\"] (is not recognized as an internal|n'est pas reconnu"
        r"|no se reconoce|não é reconhecido|non è riconosciuto|ist entweder falsch"
        r"|不是内部或外部命令|は、内部コマンド|не является)"
        r"|ObjectNotFound: \((?P<file5>[^:)\n]+)|execve\(\): (?P<file6>[^:\n]+): No such file"
        r"|'(?P<file4>accelerate|python3?)'",
        "The program {file} does not exist on this machine.",
        "Install musubi-tuner and its virtual environment, or run the command from musubi-tuner's "
        "folder; then resume the run.",
    ),
    KnownFailure(
        "other-trainer",
        r"HookError: (?P<where>\S+) ",
        "This is not the musubi-tuner version that the bot supports: {where} differs.",
        "Ask the operator to check out the commit named in the log, then resume the run.",
    ),
    KnownFailure(
        "trainer-bug",
        r"UnboundLocalError|NameError: name",
        "There is a bug in the trainer's own code: {line}",
        "Ask the operator to check out the musubi-tuner commit that this program supports, then "
        "resume the run.",
        within=r"musubi_tuner[/\\]",
    ),
    KnownFailure(
        "console-encoding",
        r"UnicodeEncodeError|UnicodeDecodeError: '(cp\d+|charmap|gbk|mbcs|ascii|shift_jis|big5)'",
        "Windows' code page cannot represent a character: {line}",
        "Set PYTHONUTF8=1 in the environment, then resume the run.",
    ),
)
