/** @typedef {(isAgain: boolean) => string | null | Promise<string | null>} GetToken */
export class GraphQLEndpoint {
    /**
     * @param {string} url
     * @param {object} [options]
     * @param {GetToken} [options.getToken] gives the bearer token; asked with `true` after one was refused
     * @param {typeof globalThis.fetch} [options.fetch]
     */
    constructor(url: string, { getToken, fetch }?: {
        getToken?: GetToken | undefined;
        fetch?: typeof globalThis.fetch | undefined;
    });
    /**
     * The `data` of the answer; a Problem if there is none.
     * @param {string} query
     * @param {Record<string, unknown>} variables
     * @param {AbortSignal} [signal]
     * @returns {Promise<any>}
     */
    run(query: string, variables: Record<string, unknown>, signal?: AbortSignal): Promise<any>;
    /**
     * The payload of a mutation with one root field; its first user error as a Problem.
     * @param {string} query
     * @param {object} input
     * @param {AbortSignal} [signal]
     * @returns {Promise<any>}
     */
    mutate(query: string, input: object, signal?: AbortSignal): Promise<any>;
    #private;
}
export type GetToken = (isAgain: boolean) => string | null | Promise<string | null>;
