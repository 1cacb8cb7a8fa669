import java.io.IOException;
import java.util.Iterator;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Stream;

/** Uses tokens: replaces one that the provider refuses, and waits for the next. */
public class TokenUse {
  /** What a call of the provider brought, and whether the provider refused the token. */
  public record Answer(boolean refused, String text) {}

  public interface Call {
    Answer with(String token) throws IOException, InterruptedException;
  }

  private final TokenServer server;

  public TokenUse(TokenServer server) { this.server = server; }

  /** Calls the provider; once more, with another token, where it refuses this one. */
  public Answer withToken(String realm, String key, Call call) throws IOException, InterruptedException {
    TokenServer.Token held = server.token(realm, key);
    Answer answer = call.with(held.token());
    return answer.refused() ? call.with(refused(realm, key, held.generation()).token()) : answer;
  }

  /** Reports that the provider refused a token; another one. */
  public TokenServer.Token refused(String realm, String key, long generation)
      throws IOException, InterruptedException {
    var report = Map.of("realm", realm, "key", key, "generation", generation);
    Stream<String> answer = server.ask("/api/token/report", report);
    return server.keep(TokenServer.query(realm, key), answer.reduce("", String::concat));
  }

  /** Tells each token as it comes, for as long as more are wanted; to be called again when it returns. */
  public void watch(String realm, String key, Predicate<TokenServer.Token> tell)
      throws IOException, InterruptedException {
    String name = TokenServer.query(realm, key);
    try (Stream<String> lines = server.ask("/api/token/watch?include=token&" + name, null)) {
      Iterator<String> events = lines.filter(line -> line.startsWith("data: ")).iterator();
      while (events.hasNext() && tell.test(server.keep(name, events.next().substring(6)))) {}
    }
  }
}
